package live

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
)

// Recent is the recent window: the stored samples of the host family of the last hour or so, in memory, from which the end
// of a range is answered without SQL. It takes a batch when its transaction is done, so what it has is stored, and it knows
// of each host since when it has all that is stored. docs/decisions/0010-recent-window.md says how.
//
// All methods are safe for concurrent use. The rows are in pages of columns; the pages of all hosts form one queue by age,
// so that over the budget the oldest of all go first.
type Recent struct {
	options RecentOptions

	mu    sync.RWMutex // guards all below
	hosts map[storage.HostID]*recentHost
	// oldest and youngest are the ends of the queue.
	oldest, youngest *recentPage
	// spare are pages to use again, at most maxSpare.
	spare []*recentPage
	// pages are those that take memory, the spare ones too.
	pages int64
	// bits are those of the row that is taken.
	bits []uint64
}

// Positions is what Recent reads from storage.
type Positions interface {
	// Positions tells what is stored of hosts; none stands for all.
	Positions(ctx context.Context, hosts []storage.HostID) ([]storage.Position, error)
}

// RecentOptions of a Recent. All but Now and Registerer must be given.
type RecentOptions struct {
	Store Positions
	// Window is how old rows may get, up to a day.
	Window time.Duration
	// Bytes bounds the memory of the rows.
	Bytes int64
	// Ahead is how much later than the server's clock a stored sample can be at most: how far ahead ingest lets an agent's clock
	// be, and how far apart the clocks of servers are that share the database.
	Ahead      time.Duration
	Now        func() time.Time
	Registerer prometheus.Registerer
}

const (
	// pageRows make a page some 5 KB: a host that sends every 10 s fills it in five minutes.
	pageRows = 32
	maxSpare = 64
	// A page is taken into use by a host for this part of the window, so that one that sends seldom does not keep its page
	// in front of the queue for long.
	pageShare = 4
)

// recentLayout is that of the host family.
var recentLayout = &layouts[catalogue.Host().Place()]

// pageBytes is what a page takes, in the sizes that Go allocates.
var pageBytes = int64(4*cap(slices.Grow([]uint32(nil), pageRows*recentLayout.width)) + cap(slices.Grow([]byte(nil), int(unsafe.Sizeof(recentPage{})))))

// recentHost is what Recent knows of a host.
type recentHost struct {
	// complete is the time, in Unix milliseconds, from which on every stored sample is here.
	complete int64
	// position is the stored one if nobody else has stored something of the host.
	position uint64
	// flying are the batches on their way to storage, and landed counts those that no longer are.
	flying int
	landed uint64
	// first and last are the host's pages.
	first, last *recentPage
}

// recentPage has rows of a host in the order in which they were stored, by columns.
type recentPage struct {
	owner *recentHost
	// younger is the next in the queue of all, later the next of the host.
	younger, later *recentPage
	// opened is when it came into use, newest the time of the newest row, both in Unix milliseconds.
	opened, newest int64
	rows           int
	times          [pageRows]int64
	// words has pageRows of each column of the layout, one column after the other.
	words []uint32
}

// NewRecent returns an empty window that is complete from now on; Refill reads what was before. It must be called before the first batch is appended.
func NewRecent(ctx context.Context, options RecentOptions) (*Recent, error) {
	if options.Now == nil {
		options.Now = time.Now
	}
	positions, err := options.Store.Positions(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("begin the recent window: %w", err)
	}
	r := &Recent{options: options, hosts: make(map[storage.HostID]*recentHost, len(positions)), bits: make([]uint64, len(recentLayout.family.Metrics))}
	for _, p := range positions {
		h := r.host(p.Host)
		h.position = sum(p)
		h.complete = r.fromNow() // also of one without a batch: samples may have come another way, as by SQL
	}
	if options.Registerer != nil {
		options.Registerer.MustRegister(r.gauges()...)
	}
	return r, nil
}

// sum is what moves with whatever is stored of a host: batches, as many as they are numbered, and parts of imports.
func sum(p storage.Position) uint64 { return p.Seqs + p.Imports }

func (r *Recent) gauges() []prometheus.Collector {
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gohub_recent_window_seconds",
			Help: "Age of the oldest rows in the recent window; less than the configured window after a start, or when memory is short.",
		}, func() float64 { return r.age().Seconds() }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gohub_recent_memory_bytes",
			Help: "Memory that the rows of the recent window take.",
		}, func() float64 {
			r.mu.RLock()
			defer r.mu.RUnlock()
			return float64(r.pages * pageBytes)
		}),
	}
}

// age is how long ago the oldest page came into use.
func (r *Recent) age() time.Duration {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.oldest == nil {
		return 0
	}
	return r.options.Now().Sub(time.UnixMilli(r.oldest.opened))
}

// fromNow is later than any sample that is stored by now, in Unix milliseconds.
func (r *Recent) fromNow() int64 { return r.options.Now().Add(r.options.Ahead).UnixMilli() + 1 }

// host returns the host, and adds it if it is new: nothing was stored of it when the window began. It is called with mu held.
func (r *Recent) host(id storage.HostID) *recentHost {
	h := r.hosts[id]
	if h == nil {
		h = &recentHost{complete: math.MinInt64}
		r.hosts[id] = h
	}
	return h
}

// Begin is told of batches before they are appended to storage, and End after that.
func (r *Recent) Begin(batches []*storage.Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, batch := range batches {
		r.host(batch.Host).flying++
	}
}

// End takes the rows of the batches that were stored. outcomes is nil where the append failed.
func (r *Recent) End(batches []*storage.Batch, outcomes []storage.Outcome) {
	now := r.options.Now().UnixMilli()
	for i, batch := range batches {
		r.mu.Lock() // readers may come in between
		h := r.host(batch.Host)
		h.flying--
		h.landed++
		if outcomes != nil && outcomes[i] == storage.Stored {
			h.position += batch.Seq - batch.Prev
			r.take(h, &batch.Rows, now)
		}
		r.mu.Unlock()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.oldest != nil && r.oldest.newest < now-r.options.Window.Milliseconds() {
		r.evict()
	}
}

// take appends a batch's rows of the host family.
func (r *Recent) take(h *recentHost, rows *storage.Rows, now int64) {
	for at := range rows.Readings(recentLayout.family, r.bits, missing) {
		if at < h.complete || at < now-r.options.Window.Milliseconds() {
			h.complete = max(h.complete, at+1) // what is left out is not asked for here
			continue
		}
		page := r.open(h, now)
		if page == nil || at < h.complete { // room was made of the host's own rows
			h.complete = max(h.complete, at+1)
			continue
		}
		row := page.rows
		page.rows++
		page.times[row] = at
		page.newest = max(page.newest, at)
		words := page.words[row:]
		for i, column := range recentLayout.at {
			words[column*pageRows] = uint32(r.bits[i])
		}
		for _, i := range recentLayout.wide {
			words[(recentLayout.at[i]+1)*pageRows] = uint32(r.bits[i] >> 32)
		}
	}
}

// open returns a page of the host with room for a row, nil if there is no memory for one.
func (r *Recent) open(h *recentHost, now int64) *recentPage {
	if page := h.last; page != nil && page.rows < pageRows && now-page.opened < r.options.Window.Milliseconds()/pageShare {
		return page
	}
	page := r.page()
	if page == nil {
		return nil
	}
	*page = recentPage{owner: h, opened: now, newest: math.MinInt64, words: page.words}
	r.enqueue(page)
	if h.last == nil {
		h.first = page
	} else {
		h.last.later = page
	}
	h.last = page
	return page
}

// enqueue makes the page the youngest.
func (r *Recent) enqueue(page *recentPage) {
	if r.youngest == nil {
		r.oldest = page
	} else {
		r.youngest.younger = page
	}
	r.youngest = page
}

// page returns one for use, for which the oldest has to go where the budget is used up.
func (r *Recent) page() *recentPage {
	if len(r.spare) == 0 && (r.pages+1)*pageBytes > r.options.Bytes && r.oldest != nil {
		r.evict()
	}
	if last := len(r.spare) - 1; last >= 0 {
		page := r.spare[last]
		r.spare = r.spare[:last]
		return page
	}
	if (r.pages+1)*pageBytes > r.options.Bytes {
		return nil
	}
	r.pages++
	return &recentPage{words: make([]uint32, pageRows*recentLayout.width)}
}

// evict drops the oldest page, which is its host's first.
func (r *Recent) evict() {
	page := r.oldest
	if r.oldest = page.younger; r.oldest == nil {
		r.youngest = nil
	}
	h := page.owner
	if h.first = page.later; h.first == nil {
		h.last = nil
	}
	h.complete = max(h.complete, page.newest+1)
	r.release(page)
}

// release takes back a page that is in no list any more.
func (r *Recent) release(page *recentPage) {
	*page = recentPage{words: page.words}
	if len(r.spare) < maxSpare {
		r.spare = append(r.spare, page)
	} else {
		r.pages--
	}
}
