package timescale

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	pgxv5 "github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/gohub-io/gohub/storage"
)

// given is the registrations as a table: agents, epochs, facts and times come as arrays.
const given = "unnest($1::uuid[], $2::bigint[], $3::jsonb[], $4::timestamptz[]) AS given (agent_id, epoch, facts, at)"

// Of new agents, as many are let in as the bound leaves room for. Servers count and insert one after the other: the lock is its
// own statement, because what is seen is settled when a statement begins. A fleet that comes back has no new ones, takes no
// lock and is not counted.
const (
	strangers = given + " WHERE NOT EXISTS (SELECT FROM hosts WHERE hosts.agent_id = given.agent_id)"

	lockHostsSQL = "SELECT pg_advisory_xact_lock($5, $6) WHERE EXISTS (SELECT FROM " + strangers + ")"

	addHostsSQL = `
	WITH strangers AS MATERIALIZED (SELECT DISTINCT ON (agent_id) agent_id, facts, at FROM ` + strangers + ` ORDER BY agent_id, at)
	INSERT INTO hosts (agent_id, facts, first_seen)
	SELECT agent_id, facts, at FROM strangers ORDER BY agent_id
	LIMIT CASE WHEN EXISTS (SELECT FROM strangers) THEN greatest($5 - (SELECT count(*) FROM hosts), 0) ELSE 0 END
	ON CONFLICT (agent_id) DO NOTHING`
)

// What registers agents that are hosts, in this order and after the above. Every statement sees what those before it did, and
// takes its locks in one order, so that two servers can not deadlock. A host whose facts are as they were is not written: after
// a restart of the server a whole fleet comes back with the same.
var registerSQL = []string{
	`
	UPDATE hosts SET facts = changed.facts
	FROM (
		SELECT hosts.host_id, given.facts FROM ` + given + ` JOIN hosts USING (agent_id)
		WHERE hosts.facts <> given.facts ORDER BY hosts.host_id FOR UPDATE OF hosts
	) AS changed
	WHERE hosts.host_id = changed.host_id`, `
	INSERT INTO cursors (host_id, epoch, seq)
	SELECT DISTINCT host_id, epoch, 0 FROM ` + given + ` JOIN hosts USING (agent_id)
	WHERE NOT EXISTS (SELECT FROM cursors WHERE cursors.host_id = hosts.host_id AND cursors.epoch = given.epoch)
	ORDER BY host_id, epoch
	ON CONFLICT DO NOTHING`,
}

const registeredSQL = `
	SELECT agent_id, epoch, host_id, first_seen, seq, checksum
	FROM (SELECT DISTINCT agent_id, epoch FROM ` + given + `) AS asked JOIN hosts USING (agent_id) JOIN cursors USING (host_id, epoch)`

// Register implements storage.Store.
func (s *Store) Register(ctx context.Context, registrations []storage.Registration) ([]storage.Registered, error) {
	var (
		agents = make([]uuid.UUID, len(registrations))
		epochs = make([]int64, len(registrations))
		facts  = make([]string, len(registrations))
		times  = make([]time.Time, len(registrations))
	)
	for i, r := range registrations {
		encoded, err := protojson.Marshal(r.Facts)
		if err != nil {
			return nil, fmt.Errorf("register agent %s: encode facts: %w", r.AgentID, err)
		}
		agents[i], epochs[i], facts[i], times[i] = r.AgentID, int64(r.Epoch), string(encoded), r.At
	}
	type key struct {
		agent uuid.UUID
		epoch int64
	}
	found := make(map[key]storage.Registered, len(registrations))
	work := &pgxv5.Batch{}
	work.Queue(lockHostsSQL, agents, epochs, facts, times, locks, lockHosts)
	work.Queue(addHostsSQL, agents, epochs, facts, times, s.options.MaxHosts)
	for _, statement := range registerSQL {
		work.Queue(statement, agents, epochs, facts, times)
	}
	work.Queue(registeredSQL, agents, epochs, facts, times).Query(func(rows pgxv5.Rows) error {
		var (
			one     key
			answer  storage.Registered
			host    int32
			seq     int64
			check   int64
			targets = []any{&one.agent, &one.epoch, &host, &answer.Host.FirstSeen, &seq, &check}
		)
		_, err := pgxv5.ForEachRow(rows, targets, func() error {
			answer.Host.ID, answer.Host.AgentID, answer.Cursor = storage.HostID(host), one.agent, storage.Cursor{Seq: uint64(seq), Checksum: uint32(check)}
			answer.Host.FirstSeen = answer.Host.FirstSeen.UTC()
			found[one] = answer
			return nil
		})
		return err
	})
	err := pgxv5.BeginFunc(ctx, s.writes, func(tx pgxv5.Tx) error { return tx.SendBatch(ctx, work).Close() })
	if err != nil {
		return nil, fmt.Errorf("register %d agents, the first %s: %w", len(registrations), registrations[0].AgentID, classify(err))
	}
	answers := make([]storage.Registered, len(registrations))
	for i, r := range registrations {
		answers[i] = found[key{r.AgentID, int64(r.Epoch)}]
		if answers[i].Host.ID == 0 {
			answers[i].Err = s.options.TooManyHosts()
			continue
		}
		answers[i].Host.Facts = r.Facts
	}
	return answers, nil
}
