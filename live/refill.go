package live

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
)

// Stored is what a refill reads from storage.
type Stored interface {
	Positions
	// ReadRows yields the rows of hosts in a span, by host and time. A row is valid until yield returns.
	ReadRows(ctx context.Context, table storage.Table, hosts []storage.HostID, span storage.Span, yield func([]storage.Cell) error) error
}

// refillHosts are read with one statement: an hour of them is 23,000 rows at an interval of 10 s, and takes 4 MB on its way.
const refillHosts = 64

// Refill reads the window of those hosts of which it is not all here, as after a start. It uses the database for half of the time at
// most. What it is reading takes no more memory than the window may, and goes into it. A host that stores all the time may be left as
// it was.
//
// A host's rows are read between two looks at its position. If both tell the same, and no batch of this server was on its way
// or came from before the first look until they are put in place, then they are what is stored at that position: they replace what is here
// of the host, so that nothing is doubled and nothing missing, whoever has stored it. What is stored after that comes as ever.
func (r *Recent) Refill(ctx context.Context, stored Stored) error {
	hosts := r.incomplete()
	for range maxVerifies {
		var again []storage.HostID
		for group := range slices.Chunk(hosts, refillHosts) {
			begin := time.Now()
			left, err := r.refill(ctx, stored, group)
			if err != nil {
				return fmt.Errorf("refill the recent window: %w", err)
			}
			again = append(again, left...)
			select {
			case <-time.After(time.Since(begin)):
			case <-ctx.Done():
				return fmt.Errorf("refill the recent window: %w", ctx.Err())
			}
		}
		hosts = again
	}
	return nil
}

// incomplete returns the hosts of which the window is not all here.
func (r *Recent) incomplete() []storage.HostID {
	since := r.options.Now().Add(-r.options.Window).UnixMilli()
	r.mu.RLock()
	defer r.mu.RUnlock()
	var hosts []storage.HostID
	for id, h := range r.hosts {
		if h.complete > since {
			hosts = append(hosts, id)
		}
	}
	slices.Sort(hosts)
	return hosts
}

// refill reads some hosts, and returns those of which it can not tell that it has read all.
func (r *Recent) refill(ctx context.Context, stored Stored, hosts []storage.HostID) (left []storage.HostID, err error) {
	now := r.options.Now()
	before := r.glance(hosts)
	first, err := positionsOf(ctx, stored, hosts)
	if err != nil {
		return nil, err
	}
	read := make(map[storage.HostID]*refilled, len(hosts))
	for _, id := range hosts {
		read[id] = &refilled{
			now: now.UnixMilli(), window: r.options.Window.Milliseconds(), complete: now.Add(-r.options.Window).UnixMilli(),
			most: int(r.options.Bytes/pageBytes) / len(hosts),
		}
	}
	// No sample is further ahead than this.
	span := storage.Span{From: now.Add(-r.options.Window), To: now.Add(r.options.Ahead + r.options.Window)}
	err = stored.ReadRows(ctx, storage.Table{Family: recentLayout.family, Resolution: storage.Raw}, hosts, span, func(row []storage.Cell) error {
		read[storage.HostID(row[storage.HostColumn].Int)].add(row)
		return nil
	})
	if err != nil {
		return nil, err
	}
	second, err := positionsOf(ctx, stored, hosts)
	if err != nil {
		return nil, err
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(read, func(id storage.HostID, _ *refilled) bool {
		h, was := r.hosts[id], before[id]
		if first[id] == second[id] && was.flying == 0 && h.flying == 0 && h.landed == was.landed {
			h.position = second[id]
			return false
		}
		left = append(left, id)
		return true
	})
	r.replace(read)
	return left, nil
}

func positionsOf(ctx context.Context, stored Stored, hosts []storage.HostID) (map[storage.HostID]uint64, error) {
	positions, err := stored.Positions(ctx, hosts)
	if err != nil {
		return nil, err
	}
	of := make(map[storage.HostID]uint64, len(positions))
	for _, p := range positions {
		of[p.Host] = sum(p)
	}
	return of, nil
}

// refilled is what was read of a host.
type refilled struct {
	// now and window are in milliseconds, most is how many pages it may have: its part of the budget, of the newest rows.
	now, window int64
	most        int
	// complete is as recentHost's.
	complete int64
	pages    []*recentPage
}

// add takes the next row: of the host family, as storage has it.
func (f *refilled) add(row []storage.Cell) {
	at := time.UnixMicro(row[storage.TimeColumn].Int).UnixMilli()
	if at < f.complete {
		return // a part of a millisecond before the window, or before what there is room for
	}
	page := f.open(at)
	if page == nil {
		return
	}
	place := page.rows
	page.rows++
	page.times[place] = at
	page.newest = max(page.newest, at)
	const values = storage.HostColumn + 2 // received_at is between
	for i, metric := range recentLayout.family.Metrics {
		cell, bits := row[values+i], uint64(missing)
		switch {
		case !cell.Valid:
		case metric.Type == catalogue.Float:
			bits = uint64(math.Float32bits(float32(cell.Float)))
		default:
			bits = uint64(cell.Int)
		}
		column := recentLayout.at[i] * pageRows
		page.words[column+place] = uint32(bits)
		if metric.Type == catalogue.Uint64 {
			page.words[column+pageRows+place] = uint32(bits >> 32)
		}
	}
}

// open returns a page with room for a row of a time, for which the oldest goes where there are too many; nil if there may be none.
func (f *refilled) open(at int64) *recentPage {
	opened := min(at, f.now)
	if last := len(f.pages) - 1; last >= 0 {
		if page := f.pages[last]; page.rows < pageRows && opened-page.opened < f.window/pageShare {
			return page
		}
	}
	if len(f.pages) == f.most {
		if f.most == 0 {
			f.complete = max(f.complete, at+1)
			return nil
		}
		f.complete = f.pages[0].newest + 1
		f.pages = slices.Delete(f.pages, 0, 1)
	}
	page := &recentPage{opened: opened, newest: math.MinInt64, words: make([]uint32, pageRows*recentLayout.width)}
	f.pages = append(f.pages, page)
	return page
}

// replace puts what was read in the place of what is here of the hosts, in the queue by age. It is called with mu held.
func (r *Recent) replace(read map[storage.HostID]*refilled) {
	replaced := make(map[*recentHost]bool, len(read))
	var pages []*recentPage
	for id, f := range read {
		h := r.hosts[id]
		replaced[h] = true
		h.complete, h.first, h.last = f.complete, nil, nil
		for _, page := range f.pages {
			page.owner = h
			if h.last == nil {
				h.first = page
			} else {
				h.last.later = page
			}
			h.last = page
		}
		pages = append(pages, f.pages...)
	}
	r.pages += int64(len(pages))
	slices.SortStableFunc(pages, func(a, b *recentPage) int { return cmp.Compare(a.opened, b.opened) })

	old := r.oldest
	r.oldest, r.youngest = nil, nil
	for old != nil || len(pages) > 0 {
		switch {
		case old != nil && replaced[old.owner]:
			next := old.younger
			r.release(old)
			old = next
		case old == nil || len(pages) > 0 && pages[0].opened <= old.opened:
			r.enqueue(pages[0])
			pages = pages[1:]
		default:
			next := old.younger
			old.younger = nil
			r.enqueue(old)
			old = next
		}
	}
	for r.pages*pageBytes > r.options.Bytes {
		if last := len(r.spare) - 1; last >= 0 {
			r.spare = r.spare[:last]
			r.pages--
		} else {
			r.evict()
		}
	}
}
