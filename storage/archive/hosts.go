package archive

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/proto/label"
	"github.com/gohub-io/gohub/storage"
)

// hostColumns are those of hosts.parquet. What an import reads is host_id, agent_id, first_seen, facts, server_labels and cursors;
// the others are for people.
var hostColumns = []storage.TableColumn{
	{Name: "host_id", Kind: storage.Int32},
	{Name: "agent_id", Kind: storage.Text},
	{Name: "first_seen", Kind: storage.Timestamp},
	{Name: "hostname", Kind: storage.Text},
	{Name: "os", Kind: storage.Text},
	{Name: "arch", Kind: storage.Text},
	{Name: "labels", Kind: storage.Text},
	{Name: "facts", Kind: storage.Text},
	{Name: "server_labels", Kind: storage.Text},
	{Name: "cursors", Kind: storage.Text},
}

// cursorJSON is how far a spool of the host is stored.
type cursorJSON struct {
	Epoch    uint64 `json:"epoch"`
	Seq      uint64 `json:"seq"`
	Checksum uint32 `json:"checksum"`
}

// hostRow makes the row of a host.
func hostRow(host storage.ArchivedHost) ([]storage.Cell, error) {
	facts, err := protojson.Marshal(host.Facts)
	if err != nil {
		return nil, fmt.Errorf("encode the facts of host %d: %w", host.ID, err)
	}
	cursors := []cursorJSON{}
	for epoch, cursor := range host.Cursors {
		cursors = append(cursors, cursorJSON{epoch, cursor.Seq, cursor.Checksum})
	}
	ours := host.Labels
	if ours == nil {
		ours = map[string]string{}
	}
	merged := label.Merge(host.Facts.GetLabels(), ours)
	if merged == nil {
		merged = ours
	}
	var texts [3]string
	for i, value := range []any{merged, ours, cursors} {
		encoded, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("encode host %d: %w", host.ID, err)
		}
		texts[i] = string(encoded)
	}
	text := func(s string) storage.Cell { return storage.Cell{Valid: true, Text: s} }
	number := func(n int64) storage.Cell { return storage.Cell{Valid: true, Int: n} }
	return []storage.Cell{
		number(int64(host.ID)), text(host.AgentID.String()), number(host.FirstSeen.UnixMicro()),
		text(host.Facts.GetHostname()), text(host.Facts.GetOs()), text(host.Facts.GetArch()),
		text(texts[0]), text(string(facts)), text(texts[1]), text(texts[2]),
	}, nil
}

// hostOf is the other way.
func hostOf(row []storage.Cell) (host storage.ArchivedHost, err error) {
	host.ID = storage.HostID(row[0].Int)
	host.Facts = &gohubv1.HostFacts{}
	if host.AgentID, err = uuid.Parse(row[1].Text); err != nil {
		return host, fmt.Errorf("host %d: agent id %q: %w", host.ID, row[1].Text, err)
	}
	host.FirstSeen = time.UnixMicro(row[2].Int).UTC()
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal([]byte(row[7].Text), host.Facts); err != nil {
		return host, fmt.Errorf("host %d: facts: %w", host.ID, err)
	}
	if err := json.Unmarshal([]byte(row[8].Text), &host.Labels); err != nil {
		return host, fmt.Errorf("host %d: labels: %w", host.ID, err)
	}
	var cursors []cursorJSON
	if err := json.Unmarshal([]byte(row[9].Text), &cursors); err != nil {
		return host, fmt.Errorf("host %d: cursors: %w", host.ID, err)
	}
	host.Cursors = make(map[uint64]storage.Cursor, len(cursors))
	for _, cursor := range cursors {
		host.Cursors[cursor.Epoch] = storage.Cursor{Seq: cursor.Seq, Checksum: cursor.Checksum}
	}
	return host, nil
}

func writeHosts(directory string, hosts []storage.ArchivedHost) (fileEntry, error) {
	return writeFile(directory, hostsName, hostColumns, func(yield func([]storage.Cell) error) error {
		for _, host := range hosts {
			row, err := hostRow(host)
			if err == nil {
				err = yield(row)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// readHosts reads the hosts of a manifest, whose file it verifies.
func readHosts(directory string, m manifest) (hosts []storage.ArchivedHost, err error) {
	entry, listed := m.entry(hostsName)
	if !listed {
		return nil, fmt.Errorf("%w: the manifest does not list %s", ErrDamaged, hostsName)
	}
	if entry.Rows == 0 {
		return nil, nil
	}
	if err := entry.verify(directory); err != nil {
		return nil, err
	}
	err = readFile(directory, hostsName, hostColumns, 0, func(row []storage.Cell) error {
		host, err := hostOf(row)
		hosts = append(hosts, host)
		return err
	})
	return hosts, err
}
