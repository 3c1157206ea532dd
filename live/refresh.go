package live

import (
	"context"
	"math"
	"time"

	"github.com/gohub-io/gohub/proto/catalogue"
)

// Run makes changed numbers text while scrapers come, and drops all text when none has come for a while, until ctx ends. It
// returns nil.
func (e *Exposition) Run(ctx context.Context) error {
	for {
		select {
		case <-e.woken:
		case <-ctx.Done():
			return nil
		}
		ticker := time.NewTicker(refreshEvery)
		for active := true; active; {
			select {
			case <-ticker.C:
				active = e.refreshOrDrop()
			case <-ctx.Done():
				active = false
			}
		}
		ticker.Stop()
	}
}

// refreshOrDrop tells whether there still is a scraper.
func (e *Exposition) refreshOrDrop() bool {
	now := e.state.now()
	e.mu.Lock()
	gone := now.Sub(e.scrapedAt) >= scraperGone
	if gone {
		e.hosts, e.made, e.cpu, e.view, e.scratch = nil, nil, nil, View{}, nil
		for _, t := range e.tables {
			t.blocks = nil
		}
	}
	e.mu.Unlock()
	if gone {
		return false
	}
	e.refresh()
	return true
}

// refresh brings the text up to date, a block at a time.
func (e *Exposition) refresh() {
	m := e.state.moment()
	e.mu.Lock()
	defer e.mu.Unlock()
	if known := e.state.all(); len(known) > len(e.hosts) {
		e.hosts = append(e.hosts, make([]*host, len(known)-len(e.hosts))...)
		e.made = append(e.made, make([]made, len(known)-len(e.made))...)
		if e.countsCPU {
			e.cpu = append(e.cpu, make([]cpuSeconds, len(known)-len(e.cpu))...)
		}
		for _, h := range known {
			e.hosts[h.index] = h
		}
		for _, t := range e.tables {
			blocks := (len(e.hosts) + blockHosts - 1) / blockHosts
			t.blocks = append(t.blocks, make([]tableBlock, blocks-len(t.blocks))...)
		}
	}
	for block := 0; block*blockHosts < len(e.hosts); block++ {
		e.refreshBlock(block, m)
		e.mu.Unlock() // others may go on
		e.mu.Lock()
	}
}

// refreshBlock makes the numbers of those hosts anew that have changed, or the whole block if rows or labels have.
func (e *Exposition) refreshBlock(block int, m moment) {
	last := min((block+1)*blockHosts, len(e.hosts))
	for i := block * blockHosts; i < last; i++ {
		if !e.hosts[i].viewChanged(&e.view, m, e.made[i]) {
			continue
		}
		if e.view.shape != e.made[i].shape || e.view.phase != e.made[i].phase {
			e.remake(block, m)
			return
		}
		e.count(i, m)
		for _, t := range e.tables {
			t.update(&e.view, &t.blocks[block], i%blockHosts)
		}
		e.made[i] = e.view.made()
	}
}

// remake makes a block anew.
func (e *Exposition) remake(block int, m moment) {
	first, last := block*blockHosts, min((block+1)*blockHosts, len(e.hosts))
	// A table at a time would see a host several times, and perhaps not the same.
	for _, t := range e.tables {
		t.blocks[block].clear(len(t.sets))
	}
	for i := first; i < last; i++ {
		e.hosts[i].view(&e.view, m)
		e.count(i, m)
		for _, t := range e.tables {
			t.append(&e.view, &t.blocks[block], i-first)
		}
		e.made[i] = e.view.made()
	}
	for _, t := range e.tables {
		b := &t.blocks[block]
		for i := last - first; i < blockHosts; i++ {
			b.first[i+1] = b.first[i]
		}
		e.scratch = b.transpose(len(t.slots), e.scratch)
	}
}

// count adds what e.view, of the i-th host, has done to its counters.
func (e *Exposition) count(i int, m moment) {
	if e.countsCPU {
		e.view.cpu = &e.cpu[i]
		e.view.cpu.advance(&e.view, m.now)
	}
}

// clear makes the block one without rows, and keeps its room.
func (b *tableBlock) clear(sets int) {
	if b.labels == nil {
		b.labels = make([]labelText, sets)
	}
	for i := range b.labels {
		b.labels[i].text, b.labels[i].ends = b.labels[i].text[:0], b.labels[i].ends[:0]
	}
	b.numbers = b.numbers[:0]
}

// append adds the rows of the host at a place of the block. The numbers stand by rows until transpose.
func (t *table) append(v *View, b *tableBlock, place int) {
	rows := 0
	switch {
	case v.phase == phaseNone:
	case t.family == catalogue.Host():
		rows = 1
	case v.phase == phaseUp:
		rows = v.Rows(t.family)
	}
	for row := range rows {
		for i, set := range t.sets {
			labels := &b.labels[i]
			labels.text = append(set(labels.text, v, row), "} "...)
			labels.ends = append(labels.ends, uint32(len(labels.text)))
		}
		for i := range t.slots {
			b.numbers = append(b.numbers, number{})
			t.slots[i].write(v, row, &b.numbers[len(b.numbers)-1], true)
		}
	}
	b.first[place+1] = b.first[place] + uint32(rows)
}

// transpose makes columns of rows. It uses and returns scratch.
func (b *tableBlock) transpose(columns int, scratch []number) []number {
	scratch = append(scratch[:0], b.numbers...)
	rows := len(scratch) / columns
	for i, n := range scratch {
		b.numbers[i%columns*rows+i/columns] = n
	}
	return scratch
}

// update makes those numbers anew that have changed. The rows and labels of the host are the same as before.
func (t *table) update(v *View, b *tableBlock, place int) {
	rows := int(b.first[blockHosts])
	for row := range int(b.first[place+1] - b.first[place]) {
		at := int(b.first[place]) + row
		for i := range t.slots {
			t.slots[i].write(v, row, &b.numbers[i*rows+at], false)
		}
	}
}

// write makes the number of a row, where it is not new only if the reading has changed.
func (s *slot) write(v *View, row int, n *number, isNew bool) {
	if s.derive != nil {
		n.text.clear()
		s.derive(v, row, &n.text)
		return
	}
	bits := uint64(missing)
	if v.phase == phaseUp {
		bits = v.bits(s.metric, row)
	}
	if bits == n.bits && !isNew {
		return
	}
	n.bits = bits
	switch {
	case bits == missing:
		n.text.clear()
	case s.metric.Type == catalogue.Float:
		n.text.setFloat(math.Float32frombits(uint32(bits)), s.shift)
	default:
		n.text.setCount(bits)
	}
}
