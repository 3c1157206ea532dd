package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gohub-io/gohub/bench/fleet"
	"github.com/gohub-io/gohub/bench/measure"
	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/timescale"
)

// fillSeed makes the hosts, so that those which stream later are the same.
const fillSeed = 7

// filled is what a filled database holds.
type filled struct {
	hosts []storage.HostID
	// Times of the samples of all hosts; begin is a full hour.
	begin, end time.Time
	// deep is where the hosts' samples begin that have more.
	deep   time.Time
	rows   int64
	copied time.Duration
	rolled time.Duration
	bytes  int64
}

func (f *filled) describe(o *Options) string {
	return fmt.Sprintf("%d hosts of %d values with %d h every %s, %d of them with %d days every %s: %s rows copied in %s, rolled up in %s, %s GB",
		len(f.hosts), o.Columns, o.Query.Hours, o.Interval, o.Query.DeepHosts, o.Query.DeepDays, o.Query.DeepInterval,
		measure.Number(float64(f.rows)), f.copied.Round(time.Second), f.rolled.Round(time.Second), measure.Number(float64(f.bytes)/1e9))
}

// fill registers hosts through the product's storage, copies samples, and rolls them up as the product does.
func (o *Options) fill(ctx context.Context, db *database) (f *filled, err error) {
	// Nothing that was filled may be dropped before it is measured.
	const keep = 10 * 365 * 24 * time.Hour
	now := time.Now().UTC()
	rollUpAt := now
	store, err := timescale.Open(ctx, db.url, storage.Options{Idle: true, Now: func() time.Time { return rollUpAt }, Retention: &storage.Retention{Raw: keep, Minute: keep, Hour: keep, Day: keep}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	f = &filled{
		begin: now.Truncate(time.Hour).Add(-time.Duration(o.Query.Hours) * time.Hour), end: now.Truncate(o.Interval),
		deep: now.Truncate(24*time.Hour).AddDate(0, 0, -o.Query.DeepDays),
	}
	if f.deep.After(f.begin) {
		f.deep = f.begin
	}
	if f.hosts, err = o.registerHosts(ctx, store); err != nil {
		return nil, err
	}
	// As in life, what is few and old is rolled up before the fleet comes: a roll-up takes larger steps as long as they are
	// small, and would take the fleet's first hours at once.
	for _, part := range []struct {
		from, to time.Time
		interval time.Duration
		hosts    []storage.HostID
	}{
		{f.deep, f.begin, o.Query.DeepInterval, f.hosts[:min(o.Query.DeepHosts, len(f.hosts))]},
		{f.begin, f.end, o.Interval, f.hosts},
	} {
		begin := time.Now()
		rows, err := o.copySamples(ctx, db, part.hosts, part.from, part.to, part.interval)
		if err != nil {
			return nil, err
		}
		f.rows, f.copied, begin = f.rows+rows, f.copied+time.Since(begin), time.Now()
		rollUpAt = part.to.Add(storage.RollupLag)
		if err := o.rollUp(ctx, store); err != nil {
			return nil, err
		}
		f.rolled += time.Since(begin)
	}
	return f, f.settle(ctx, db)
}

// registerHosts makes the hosts, and gives each the label site.
func (o *Options) registerHosts(ctx context.Context, store storage.Store) ([]storage.HostID, error) {
	shape := fleet.NewShape(o.Columns, 0, 0, 0)
	registrations := make([]storage.Registration, o.Hosts)
	for i := range registrations {
		host := fleet.NewHost(shape, fillSeed, i, uint32(o.Interval.Milliseconds()))
		registrations[i] = storage.Registration{AgentID: host.ID(), Epoch: 1, At: time.Now(), Facts: &gohubv1.HostFacts{
			Hostname: fmt.Sprintf("bench-%05d", i), IntervalMillis: uint32(o.Interval.Milliseconds()),
		}}
	}
	registered, err := store.Register(ctx, registrations)
	if err != nil {
		return nil, err
	}
	hosts := make([]storage.HostID, len(registered))
	for i, one := range registered {
		hosts[i] = one.Host.ID
		if err := store.SetHostLabels(ctx, hosts[i], map[string]string{"site": fmt.Sprintf("site%02d", i%hostGroups)}); err != nil {
			return nil, err
		}
	}
	return hosts, nil
}

// copySamples fills the table of samples in order of time.
func (o *Options) copySamples(ctx context.Context, db *database, ids []storage.HostID, from, to time.Time, interval time.Duration) (int64, error) {
	var done atomic.Int64
	defer o.progress(func() string { return fmt.Sprintf("query: %s rows copied", measure.Number(float64(done.Load()))) })()
	shape := fleet.NewShape(o.Columns, 0, 0, 0)
	group, ctx := errgroup.WithContext(ctx)
	for c := range o.CopyConnections {
		group.Go(func() error {
			connection, err := connect(ctx, db)
			if err != nil {
				return err
			}
			defer connection.Close(context.WithoutCancel(ctx))
			// What is lost by a crash is filled again.
			if _, err := connection.Exec(ctx, "SET synchronous_commit = off"); err != nil {
				return err
			}
			statement := "COPY " + catalogue.Host().StoredTable() + " (" + strings.Join(catalogue.Host().PackedColumns(), ", ") + ") FROM STDIN BINARY"
			payload, rows := []byte(copyHeader), 0
			send := func() error {
				if rows == 0 {
					return nil
				}
				payload = append(payload, copyTrailer...)
				if _, err := connection.PgConn().CopyFrom(ctx, bytes.NewReader(payload), statement); err != nil {
					return fmt.Errorf("copy: %w", err)
				}
				done.Add(int64(rows))
				payload, rows = append(payload[:0], copyHeader...), 0
				return nil
			}
			var hosts []*fleet.Host
			for i := c; i < len(ids); i += o.CopyConnections {
				hosts = append(hosts, fleet.NewHost(shape, fillSeed, i, uint32(interval.Milliseconds())))
			}
			for at := from; at.Before(to); at = at.Add(interval) {
				for i, host := range hosts {
					payload = host.AppendTuple(payload, int32(ids[c+i*o.CopyConnections]), at.UnixMilli(), at.UnixMicro())
					rows++
				}
				if rows >= o.CopyRows {
					if err := send(); err != nil {
						return err
					}
				}
			}
			return send()
		})
	}
	err := group.Wait()
	return done.Load(), err
}

// rollUp has the product make all rollups.
func (o *Options) rollUp(ctx context.Context, store storage.Store) error {
	defer o.progress(func() string {
		coverage, err := store.Coverage(ctx)
		if err != nil {
			return "query: rolling up"
		}
		return fmt.Sprintf("query: rolled up to %s at 1m, %s at 1h", coverage[storage.Minute].Until.Format(time.DateTime), coverage[storage.Hour].Until.Format(time.DateTime))
	})()
	return store.RollUp(ctx)
}

// settle does what the database does by itself in time: statistics, and its size for the report.
func (f *filled) settle(ctx context.Context, db *database) error {
	connection, err := connect(ctx, db)
	if err != nil {
		return err
	}
	defer connection.Close(context.WithoutCancel(ctx))
	for _, resolution := range storage.Resolutions {
		if _, err := connection.Exec(ctx, "ANALYZE "+resolution.Relation(catalogue.Host())); err != nil {
			return fmt.Errorf("analyze: %w", err)
		}
	}
	return connection.QueryRow(ctx, "SELECT pg_database_size(current_database())").Scan(&f.bytes)
}
