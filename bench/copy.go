package bench

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/gohub-io/gohub/bench/fleet"
	"github.com/gohub-io/gohub/proto/catalogue"
)

// PostgreSQL's binary COPY format begins and ends so.
const (
	copyHeader  = "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"
	copyTrailer = "\xff\xff"
)

// copyPlan is the rows of a workload as finished COPY payloads: what a fleet would send, in the same order, split over
// connections by host as the server splits it over its shards.
type copyPlan struct {
	// payloads of each connection, one a transaction, and their rows.
	payloads [][][]byte
	rows     [][]int
	want     map[string]fleet.Sum
}

func (o *Options) newCopyPlan(w workload) *copyPlan {
	p := &copyPlan{
		payloads: make([][][]byte, o.CopyConnections), rows: make([][]int, o.CopyConnections), want: make(map[string]fleet.Sum, w.hosts),
	}
	received := time.Now().UnixMicro()
	for c := range o.CopyConnections {
		var hosts []*fleet.Host
		var ids []int32
		for i := c; i < w.hosts; i += o.CopyConnections {
			hosts = append(hosts, fleet.NewHost(w.shape, w.seed, i, uint32(w.interval.Milliseconds())))
			ids = append(ids, int32(i+1))
		}
		payload, rows := []byte(copyHeader), 0
		cut := func() {
			if rows > 0 {
				p.payloads[c] = append(p.payloads[c], append(payload, copyTrailer...))
				p.rows[c] = append(p.rows[c], rows)
			}
			payload, rows = append(make([]byte, 0, len(payload)+1024), copyHeader...), 0
		}
		for first := 0; first < w.ticks; first += w.samples {
			for i, host := range hosts {
				for tick := first; tick < min(first+w.samples, w.ticks); tick++ {
					at := w.begin.Add(time.Duration(tick) * w.interval).UnixMilli()
					payload = host.AppendTuple(payload, ids[i], at, received)
					rows++
				}
				if rows >= o.CopyRows {
					cut()
				}
			}
		}
		cut()
		for i, host := range hosts {
			p.want[fmt.Sprint(ids[i])] = host.Sum
		}
	}
	return p
}

// copy stores the plan, a connection a goroutine, and adds to done as transactions commit.
func (p *copyPlan) copy(ctx context.Context, db *database, done *atomic.Int64, start func()) error {
	connections := make([]*pgx.Conn, len(p.payloads))
	for i := range connections {
		connection, err := pgx.Connect(ctx, db.url)
		if err != nil {
			return fmt.Errorf("connect to the database: %w", err)
		}
		defer connection.Close(context.WithoutCancel(ctx))
		if _, err := connection.Exec(ctx, "SET synchronous_commit = on"); err != nil {
			return err
		}
		connections[i] = connection
	}
	statement := "COPY " + catalogue.Host().StoredTable() + " (" + strings.Join(catalogue.Host().PackedColumns(), ", ") + ") FROM STDIN BINARY"
	start()
	group, ctx := errgroup.WithContext(ctx)
	for i, connection := range connections {
		group.Go(func() error {
			for j, payload := range p.payloads[i] {
				if _, err := connection.PgConn().CopyFrom(ctx, bytes.NewReader(payload), statement); err != nil {
					return fmt.Errorf("copy: %w", err)
				}
				done.Add(int64(p.rows[i][j]))
			}
			return nil
		})
	}
	return group.Wait()
}
