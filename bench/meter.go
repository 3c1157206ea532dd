package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gohub-io/gohub/bench/measure"
)

// meter measures one side while it runs: time, CPU, checkpoints, and a progress line.
type meter struct {
	options *Options
	ctx     context.Context
	db      *database
	label   string
	rows    int64
	// done tells how many rows are stored.
	done func() int64
	// server and postmaster are processes, 0 for none.
	server, postmaster int

	begin       time.Time
	cpu         cpuTimes
	checkpoints int64
	stopShow    func()
	stopping    chan struct{}
	tasks       sync.WaitGroup
	failure     error
}

type cpuTimes struct{ server, database, own time.Duration }

func (o *Options) newMeter(ctx context.Context, db *database, server int, w workload, label string, done func() int64) *meter {
	m := &meter{options: o, ctx: ctx, db: db, label: label, rows: w.rows(), done: done, server: server, stopping: make(chan struct{})}
	if db != nil {
		m.postmaster = db.postmaster(ctx)
	}
	return m
}

// start begins the measurement. Checkpoints are asked for when equal parts of the rows are stored.
func (m *meter) start() {
	if m.db != nil {
		m.checkpoints, m.failure = m.db.checkpoints(m.ctx)
	}
	m.cpu = m.read()
	m.begin = time.Now()
	last, before := int64(0), m.begin
	m.stopShow = m.options.progress(func() string {
		now, done := time.Now(), m.done()
		rate := float64(done-last) / now.Sub(before).Seconds()
		last, before = done, now
		return fmt.Sprintf("%s: %3.0f %%, %s rows/s", m.label, 100*float64(done)/float64(m.rows), measure.Number(rate))
	})
	if m.db == nil || m.db.url == "" {
		return
	}
	m.tasks.Go(func() {
		for i := range m.options.Checkpoints {
			for m.done() < m.rows*int64(i+1)/int64(m.options.Checkpoints+1) {
				select {
				case <-m.stopping:
					return
				case <-time.After(5 * time.Millisecond):
				}
			}
			if err := m.db.checkpoint(m.ctx); err != nil {
				m.failure = errors.Join(m.failure, err)
				return
			}
		}
	})
}

func (m *meter) read() (t cpuTimes) {
	t.own = measure.OwnCPU()
	// A process that can not be read counts as nothing, and the report says so.
	if m.server != 0 {
		t.server, _ = measure.CPU(m.server)
	}
	if m.postmaster != 0 {
		t.database, _ = measure.TreeCPU(m.postmaster)
	}
	return t
}

// stop ends the measurement.
func (m *meter) stop() (run, error) {
	if m.begin.IsZero() {
		return run{}, nil
	}
	seconds := time.Since(m.begin).Seconds()
	now := m.read()
	m.stopShow()
	close(m.stopping)
	m.tasks.Wait()
	one := run{
		Seconds: seconds, ServerCPU: (now.server - m.cpu.server).Seconds(), DatabaseCPU: (now.database - m.cpu.database).Seconds(),
		GeneratorCPU: (now.own - m.cpu.own).Seconds(),
	}
	if m.db == nil || m.db.url == "" || m.failure != nil || m.ctx.Err() != nil {
		return one, m.failure
	}
	count, err := m.db.checkpoints(m.ctx)
	if err != nil {
		return one, err
	}
	one.Checkpoints = count - m.checkpoints
	begin := time.Now()
	err = m.db.checkpoint(m.ctx)
	one.DebtSeconds = time.Since(begin).Seconds()
	return one, err
}
