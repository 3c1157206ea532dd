package query

import (
	"strings"
	"time"

	"github.com/gohub-io/gohub/storage"
)

// plan says where a window is read.
type plan struct {
	window
	// parts cover the window, in order of time.
	parts []storage.Part
	// coarsened tells that the step is wider than what was asked for, as nothing finer is kept of the window's start.
	coarsened bool
}

// resolution is the coarsest that the plan reads.
func (p plan) resolution() storage.Resolution {
	coarsest := storage.Raw
	for _, part := range p.parts {
		coarsest = max(coarsest, part.Resolution)
	}
	return coarsest
}

// source names the plan's resolutions in order of time, as "1h+1m+raw".
func (p plan) source() string {
	var names []string
	for _, part := range p.parts {
		names = append(names, part.Resolution.String())
	}
	return strings.Join(names, "+")
}

// makePlan reads each stretch of the window from the coarsest resolution that answers it exactly: one whose buckets fit
// into the window's, and that covers the stretch. What is too new for it comes from the finer ones, up to raw:
//
//	from                                                   to
//	├──────────── 1h ────────────┼────── 1m ──────┼── raw ──┤
//	                         1h's Until        1m's Until
//
// If retention has left nothing fine enough of the window's start, the step is widened to the finest resolution that
// still has it.
func makePlan(w window, coverage []storage.Coverage) plan {
	p := plan{window: w}
	covers := [len(storage.Resolutions)]storage.Coverage{}
	for _, one := range coverage {
		covers[one.Resolution] = one
	}
	if finest := finestThatHas(w, covers); !w.takes(finest) {
		p.window, p.coarsened = w.widen(finest.Step()), true
	}
	p.fill(p.from, p.to, storage.Day, covers)
	return p
}

// finestThatHas returns the finest resolution that still has the window's start, and the one that goes back the furthest
// if none does.
func finestThatHas(w window, covers [len(storage.Resolutions)]storage.Coverage) storage.Resolution {
	best := storage.Raw
	for _, r := range storage.Resolutions {
		// What is not rolled up yet is in a finer one, however old it is.
		if r != storage.Raw && !covers[r].Until.After(w.from) {
			continue
		}
		if !covers[r].From.After(w.from) {
			return r
		}
		if covers[r].From.Before(covers[best].From) {
			best = r
		}
	}
	return best
}

// mostRead is about how many rows a query reads at most whose step was left to the server: a graph of a large fleet is to be
// there at once, and the database adds up a million rows in about a second.
const mostRead = 1_000_000

// reads is about how many rows the plan reads of a family without labels.
func (p plan) reads(hosts int, interval time.Duration, now time.Time) int {
	rows := 0
	for _, part := range p.parts {
		if part.To.After(now) {
			part.To = now
		}
		apart := max(interval, time.Second)
		if part.Resolution != storage.Raw {
			apart = part.Resolution.Step()
		}
		rows += hosts * int(max(part.To.Sub(part.From), 0)/apart)
	}
	return rows
}

// thin returns the plan in wider steps if it reads too much and coarser resolutions then answer most of it.
func (p plan) thin(hosts int, interval time.Duration, now time.Time, coverage []storage.Coverage) (plan, bool) {
	thinned := false
	for _, r := range storage.Resolutions[1:] {
		before := p.reads(hosts, interval, now)
		if before <= mostRead {
			break
		}
		wider := makePlan(p.widen(r.Step()), coverage)
		if wider.reads(hosts, interval, now) > before/2 {
			continue
		}
		p, thinned = wider, true
	}
	return p, thinned
}

// fill appends the parts between two times, from the resolution or finer ones. Both times are borders of buckets of what is
// coarser, and so of the resolution's.
func (p *plan) fill(from, to time.Time, r storage.Resolution, covers [len(storage.Resolutions)]storage.Coverage) {
	if !from.Before(to) {
		return
	}
	if r == storage.Raw {
		p.add(storage.Part{Resolution: r, From: from, To: to})
		return
	}
	if !p.takes(r) {
		p.fill(from, to, r-1, covers)
		return
	}
	begin, end := from, to
	if oldest := ceil(covers[r].From, r.Step()); oldest.After(begin) {
		begin = oldest
	}
	if until := covers[r].Until; until.Before(end) {
		end = until
	}
	if !begin.Before(end) {
		p.fill(from, to, r-1, covers)
		return
	}
	p.fill(from, begin, r-1, covers)
	p.add(storage.Part{Resolution: r, From: begin, To: end})
	p.fill(end, to, r-1, covers)
}

// add appends a part, and joins it to the one before if both are of one resolution.
func (p *plan) add(part storage.Part) {
	if last := len(p.parts) - 1; last >= 0 && p.parts[last].Resolution == part.Resolution {
		p.parts[last].To = part.To
		return
	}
	p.parts = append(p.parts, part)
}

// takes tells whether the resolution's buckets fit into the window's.
func (w window) takes(r storage.Resolution) bool {
	if r == storage.Raw {
		return true
	}
	for _, edge := range w.edges {
		if edge.UnixMilli()%r.Step().Milliseconds() != 0 {
			return false
		}
	}
	return len(w.edges) > 0 || w.step%r.Step() == 0
}
