package storage

import (
	"fmt"
	"time"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// ResultRows is what both drivers' result sets have in common.
type ResultRows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
}

// CollectQuarantine reads rows of received_at in Unix milliseconds, host_id, epoch, seq, reason, the length of the sample, and the sample,
// which may be NULL.
func CollectQuarantine(rows ResultRows) ([]Quarantined, error) {
	var all []Quarantined
	for rows.Next() {
		var (
			one                  Quarantined
			received, epoch, seq int64
			wire                 []byte
		)
		if err := rows.Scan(&received, &one.Host, &epoch, &seq, &one.Reason, &one.Bytes, &wire); err != nil {
			return nil, fmt.Errorf("scan a rejected sample: %w", err)
		}
		one.ReceivedAt, one.Epoch, one.Seq, one.Wire = time.UnixMilli(received).UTC(), uint64(epoch), uint64(seq), string(wire)
		all = append(all, one)
	}
	return all, rows.Err()
}

// CollectGaps reads rows of a gap's start, end, reason and number of samples.
func CollectGaps(rows ResultRows) ([]*gohubv1.Gap, error) {
	var gaps []*gohubv1.Gap
	for rows.Next() {
		gap := &gohubv1.Gap{}
		if err := rows.Scan(&gap.FromUnixMillis, &gap.ToUnixMillis, (*int32)(&gap.Reason), &gap.Samples); err != nil {
			return nil, fmt.Errorf("scan a gap: %w", err)
		}
		gaps = append(gaps, gap)
	}
	return gaps, rows.Err()
}

// AttachLabels reads rows of host_id, name and value, and gives each host its labels.
func AttachLabels(rows ResultRows, hosts []Host) error {
	place := make(map[HostID]int, len(hosts))
	for i, host := range hosts {
		place[host.ID] = i
	}
	for rows.Next() {
		var (
			id          HostID
			name, value string
		)
		if err := rows.Scan(&id, &name, &value); err != nil {
			return fmt.Errorf("scan a host's label: %w", err)
		}
		i, known := place[id]
		if !known {
			continue // it came after the hosts were read
		}
		if hosts[i].Labels == nil {
			hosts[i].Labels = map[string]string{}
		}
		hosts[i].Labels[name] = value
	}
	return rows.Err()
}
