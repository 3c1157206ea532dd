package ingest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gohub-io/gohub/storage"
)

// How a stream ends whose samples the server's clock has for too new or too old, if they are not refused. Its agent keeps them.
var (
	// errSlow and errFast have a code of their own, so that agents wait longer: a whole fleet may come back again and again.
	errSlow = status.Error(codes.OutOfRange, "the samples are ahead of the server's clock, which seems to be slow; keep them and send them again later")
	errFast = status.Error(codes.OutOfRange, "the samples are too old by the server's clock, which seems to be fast; keep them and send them again later")
	errTime = status.Error(codes.Unavailable, "whether the samples are too new, or too old, depends on what this agent's clock says now; reconnect and say what time it is")
)

// holds tells whether an error keeps a batch with its agent, so that nothing of it is malformed.
func holds(err error) bool {
	return errors.Is(err, errSlow) || errors.Is(err, errFast) || errors.Is(err, errTime)
}

// clock tells whether the server's clock may be the one that is wrong where a sample is from the future, or too old. Then the sample
// must not be acknowledged into quarantine: all agents would trim what they have.
//
// It goes by what agents' clocks say now, never by when a sample was taken: samples wait in spools, and a clock that was wrong when
// one was taken may have been set since. An agent tells its time when it says hello. While it streams, samples that it has just taken
// show that its clock goes on as it did. Where its word is needed and does not fit, or was said too long ago, the agent has to reconnect,
// and so tells its time again.
//
// A sample from the future whose agent's clock is not ahead now was taken by a clock that was wrong then. If the agent's clock is
// ahead, the server's is the suspect while more than half of the agents that were heard lately are ahead of it, of at least three. Of
// fewer any one is enough, for another may be the server's own machine, but only while all is unsettled:
//   - after the start, when the others may not have come yet, and the clock may not have been set;
//   - after the clock went back;
//   - after the machine stood still, as a virtual one does. Its clock says nothing of it, so that an agent which comes back seems to have
//     jumped ahead. What was heard before is forgotten then.
//
// It is also the suspect, with fewer than three agents, if stored samples, which it once let pass, would be too far ahead now.
//
// A sample that is too old by the server's clock is not so by its agent's, if that is behind and the sample is younger by it. Then the
// server's is the suspect, as one that is fast, by the same rule: one of few agents is enough after the start, and after the clock went forward.
//
// By how much agents are ahead is kept against a clock that nobody sets, so that a step of the server's shows at once, not when every
// agent has been heard again.
type clock struct {
	maxFuture, maxAge time.Duration

	now func() time.Time
	// start is when the server started, with the reading of the clock that nobody sets; begun is the same by the server's clock.
	start, begun time.Time
	// stored is when the samples of most hosts ended at the start, zero if there were none.
	stored time.Time
	// forgot is when agents' leads were last forgotten, in nanoseconds since the start: they are to be told again.
	forgot atomic.Int64

	mu    sync.Mutex
	leads map[storage.HostID]lead
	// step is by how much the clock had been set since the start when it was last looked at.
	step time.Duration
	// slow and fast are what is known against the clock, one for each way in which it may be wrong.
	slow, fast suspicion
}

// suspicion is one way in which the clock may be wrong.
type suspicion struct {
	// off is whether an agent's clock is off in this way. It is called after look.
	off func(lead) bool
	// said is how the clocks of agents are then, as said in a log.
	said string
	// unsettled is until when one of few agents is enough, and held when a batch was last not taken, both since the start. There
	// is no held before the first.
	unsettled, held time.Duration
	// verdict is what reason found at judged, both since the start: what it goes through may be long. A hello ends it.
	verdict string
	judged  time.Duration
}

// lead is by how much an agent's clock was ahead of the server's start, less the time that had passed.
type lead struct {
	ahead time.Duration
	// at is when it was heard, since the start.
	at time.Duration
}

const (
	// lately is how long an agent's word counts, and often how often the agent is listened to.
	lately, often = 5 * time.Minute, time.Minute
	// fewAgents are too few to decide what time it is, but while all is unsettled.
	fewAgents = 3
	// settling is how long it takes for clocks to be set and agents to come.
	settling = 5 * time.Minute
	// holding is how long after a batch was not taken it is known that others are not: agents try again every minute or less.
	holding = 2 * time.Minute
	// lastWord is how long after its hello an agent need not say again what time it is.
	lastWord = 30 * time.Second
	// standing is how long a verdict stands.
	standing = 100 * time.Millisecond
	// mostAhead bounds a lead, so that differences of them are no overflows.
	mostAhead = 1 << 61
)

func newClock(options *Options) *clock {
	c := &clock{
		maxFuture: options.MaxFuture, maxAge: options.MaxAge, now: options.Now, start: time.Now(), begun: options.Now().Round(0), stored: options.Newest,
		leads: map[storage.HostID]lead{},
	}
	c.slow = suspicion{off: c.ahead, said: "ahead of it", unsettled: settling, held: -2 * holding}
	c.fast = suspicion{off: c.behind, said: "behind it", unsettled: settling, held: -2 * holding}
	c.doubtVerdicts()
	return c
}

// slack is by how much what an agent's clock says may be off: what it says is on the way for a while.
func (c *clock) slack() time.Duration { return c.maxFuture / 10 }

// since is the time since the start.
func (c *clock) since() time.Duration { return time.Since(c.start) }

// lead is that of an agent whose clock says, in Unix milliseconds, that it is now.
func (c *clock) lead(now int64) lead {
	since := c.since()
	ahead := time.UnixMilli(now).Sub(c.begun)
	return lead{ahead: min(max(ahead, -mostAhead), mostAhead) - since, at: since}
}

// hear remembers an agent's lead.
func (c *clock) hear(host storage.HostID, one lead) {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := c.since()
	c.look(since)
	c.doubtVerdicts()
	before, known := c.leads[host]
	c.leads[host] = one
	if known && since-before.at <= lately && one.ahead-before.ahead > c.maxFuture && c.ahead(one) {
		c.slow.unsettled = since + settling
		for other, theirs := range c.leads {
			if !c.ahead(theirs) && !c.behind(theirs) {
				delete(c.leads, other)
			}
		}
		c.forgot.Store(int64(since))
	}
}

// look notices when the clock was set. It is called with mu held.
func (c *clock) look(since time.Duration) {
	step := c.now().Round(0).Sub(c.begun) - since
	switch {
	case step < c.step-c.maxFuture/2:
		c.slow.unsettled = since + settling
		c.doubtVerdicts()
	case step > c.step+c.maxFuture/2:
		c.fast.unsettled = since + settling
		c.doubtVerdicts()
	}
	c.step = step
}

// doubtVerdicts has them be found anew. It is called with mu held.
func (c *clock) doubtVerdicts() { c.slow.judged, c.fast.judged = -standing, -standing }

// ahead reports whether an agent is ahead of the clock by as much as makes its samples be ahead of it. It is called after look.
func (c *clock) ahead(one lead) bool { return one.ahead-c.step > c.maxFuture-c.slack() }

// behind reports whether an agent is behind the clock by as much as one that is not ahead of it may be ahead. It is called after look.
func (c *clock) behind(one lead) bool { return c.step-one.ahead > c.maxFuture-c.slack() }

// judgeNew is called for a sample from the future. It tells whether its agent's clock is ahead now, as far as that is known, and why the
// server's is the suspect, if it is.
func (c *clock) judgeNew(host storage.HostID) (ahead bool, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := c.since()
	c.look(since)
	if one, known := c.leads[host]; !known || since-one.at > lately || !c.ahead(one) {
		return false, ""
	}
	return true, c.reason(&c.slow, since)
}

// judgeOld is called for a sample that is too old, of an agent with that lead. It tells whether the sample is not so by the agent's clock, and
// why the server's is the suspect, if it is. Where the lead was heard too long ago, or the clock has been set since the sample was found too old,
// nothing is known: the agent is asked for the time.
func (c *clock) judgeOld(host storage.HostID, one lead, taken time.Time) (young, known bool, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := c.since()
	c.look(since)
	age := c.begun.Add(since + c.step).Sub(taken)
	if since-one.at > lately || age < c.maxAge-time.Millisecond { // samples have whole milliseconds
		return false, false, ""
	}
	if !c.behind(one) || age-(c.step-one.ahead) > c.maxAge {
		return false, true, ""
	}
	if _, heard := c.leads[host]; !heard { // it was forgotten
		c.leads[host] = one
		c.doubtVerdicts()
	}
	return true, true, c.reason(&c.fast, since)
}

// reason is why the clock is the suspect while an agent is off. It is called after look.
func (c *clock) reason(of *suspicion, since time.Duration) string {
	if since-of.judged >= standing {
		of.verdict, of.judged = c.find(of, since), since
	}
	return of.verdict
}

func (c *clock) find(of *suspicion, since time.Duration) string {
	heard, off := 0, 0
	for host, one := range c.leads {
		if since-one.at > lately {
			delete(c.leads, host)
			continue
		}
		heard++
		if of.off(one) {
			off++
		}
	}
	switch {
	case heard >= fewAgents && 2*off > heard, heard < fewAgents && off > 0 && since < of.unsettled:
		return fmt.Sprintf("the clocks of %d of %d agents are %s by %s or more", off, heard, of.said, c.maxFuture-c.slack())
	case of == &c.slow && off > 0 && heard < fewAgents && !c.stored.IsZero() && c.stored.Sub(c.begun)-c.step > c.maxFuture: // who stored them has gone on since
		return fmt.Sprintf("there were samples of %s when the server started", c.stored.UTC().Format(time.RFC3339))
	default:
		return ""
	}
}

// hold remembers that a batch was not taken. It returns whether that is news.
func (c *clock) hold(of *suspicion) (news bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := c.since()
	news = since-of.held > holding
	of.held = since
	return news
}

// suspect is whether batches are not taken as the clock is the suspect, 1 or 0.
func (c *clock) suspect() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := c.since()
	c.look(since)
	for _, of := range []*suspicion{&c.slow, &c.fast} {
		if since-of.held <= holding && c.reason(of, since) != "" {
			return 1
		}
	}
	return 0
}

// word is what a session knows of its agent's clock. What comes is known to be of the agent's present only by it.
type word struct {
	// newest is the newest time that the agent has told, in Unix milliseconds, 0 if it does not tell any.
	newest int64
	lead   lead
}

// greet is called with the time that an agent's hello tells.
func (c *clock) greet(now int64) word {
	if now <= 0 || now >= endOfTime {
		return word{}
	}
	return word{newest: now, lead: c.lead(now)}
}

// tellClock has the server's clock hear now and then that the agent's goes on as it did. A sample that was not taken just now, by the
// clock that said hello, tells nothing.
func (s *session) tellClock(taken int64) {
	clock, before := s.server.clock, s.word.lead
	if s.word.newest == 0 || taken <= s.word.newest {
		return
	}
	one := clock.lead(taken)
	if off := one.ahead - before.ahead; off < -clock.slack() || off > clock.slack() {
		return
	}
	s.word.newest = taken
	if one.at-before.at >= often || before.at <= time.Duration(clock.forgot.Load()) {
		s.word.lead = one
		clock.hear(s.host, one)
	}
}

// doubt is called for a sample that is ahead of the server's clock. It returns how the stream is to end, nil if the sample is to be
// refused.
func (s *session) doubt(backlog bool) error {
	if s.word.newest == 0 {
		return nil
	}
	clock := s.server.clock
	ahead, reason := clock.judgeNew(s.host)
	switch {
	case reason != "":
		s.server.metrics.held.Inc()
		if clock.hold(&clock.slow) {
			s.log().Error("the server's clock seems to be slow; agents keep samples that are ahead of it until it is set", "clock", clock.now().UTC(), "reason", reason)
		}
		return errSlow
	case !ahead && !backlog && clock.since()-time.Duration(s.greeted)*time.Second > lastWord:
		s.log().Info("a sample is ahead of what its agent's clock said; the agent is to reconnect and tell its time")
		return errTime
	default:
		return nil
	}
}

// doubtOld is doubt for a sample that is too old by the server's clock. It also returns whether others in the batch need no doubt.
func (s *session) doubtOld(taken int64) (enough bool, err error) {
	if s.word.newest == 0 {
		return true, nil
	}
	clock := s.server.clock
	young, known, reason := clock.judgeOld(s.host, s.word.lead, time.UnixMilli(max(taken, 0)))
	switch {
	case !known:
		s.log().Info("a sample is too old, unless the server's clock is fast; the agent is to reconnect and tell its time")
		return true, errTime
	case reason == "":
		return young, nil
	}
	s.server.metrics.held.Inc()
	s.server.options.FastClock()
	if clock.hold(&clock.fast) {
		s.log().Error("the server's clock seems to be fast; agents keep samples that are too old by it until it is set", "clock", clock.now().UTC(), "reason", reason)
	}
	return true, errFast
}
