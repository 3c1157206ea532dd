package ingest

import (
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gohub-io/gohub/storage"
)

// errClock ends a stream whose samples are ahead of a clock that is not trusted. Its agent keeps them.
var errClock = status.Error(codes.Unavailable, "the samples are ahead of the server's clock, which seems to be slow; keep them and send them again later")

// clock tells whether the server's clock may be the one that is wrong where a sample is from the future. Then the sample must not be
// acknowledged into quarantine: all agents would trim what they have.
//
// The clock is the suspect while more than half of the agents that were heard lately, of at least three, are ahead of it by more
// than a sample may be. As long as fewer were heard, it is also the suspect
//   - if it went back since the start, by more than half of what a sample may be ahead;
//   - if stored samples, which it once let pass, would be too far ahead now;
//   - in the server's first minute, in which the others may not have come yet: then more than half of those that have.
//
// A lone agent, or one of two, that is ahead otherwise is taken for the one that is wrong, and so is each that most others
// contradict. By how much agents are ahead is kept against a clock that nobody sets, so that a step of the server's shows at once,
// not when every agent has been heard again. Of a backlog's samples nothing is learnt.
type clock struct {
	maxFuture time.Duration
	// start is when the server started, with the reading of the clock that nobody sets; begun is the same by the server's clock.
	start, begun time.Time
	// stored is when the samples of most hosts ended at the start, zero if there were none.
	stored time.Time

	mu    sync.Mutex
	leads map[storage.HostID]lead
	// held is when a batch was last not taken, since the start; never before the first.
	held time.Duration
}

// lead is by how much an agent's clock was ahead of the server's start, less the time that had passed.
type lead struct {
	ahead time.Duration
	// at is when it was heard, since the start.
	at time.Duration
}

const (
	// lately is how long an agent's word counts, and often how often the agent is listened to while all is well.
	lately, often = 5 * time.Minute, time.Minute
	// fewAgents are too few to decide what time it is.
	fewAgents = 3
	// firstMinute is how long after the start agents come.
	firstMinute = time.Minute
	// holding is how long after a batch was not taken the server is said to be unready: agents try again every 20 seconds.
	holding = time.Minute
)

func newClock(options *Options) *clock {
	return &clock{
		maxFuture: options.MaxFuture, start: time.Now(), begun: options.Now(), stored: options.Newest,
		leads: map[storage.HostID]lead{}, held: -2 * holding,
	}
}

// hear remembers when an agent took its newest sample.
func (c *clock) hear(host storage.HostID, taken time.Time) {
	since := time.Since(c.start)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leads[host] = lead{ahead: taken.Sub(c.begun) - since, at: since}
}

// suspect says why the clock, which says it is now, is not trusted, or nothing. It is called for samples from the future only.
func (c *clock) suspect(now time.Time) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.suspectLocked(now, time.Since(c.start))
}

func (c *clock) suspectLocked(now time.Time, since time.Duration) string {
	now = now.Round(0) // what the clock says, not how long ago
	step := now.Sub(c.begun.Round(0)) - since
	heard, ahead := 0, 0
	for host, one := range c.leads {
		if since-one.at > lately {
			delete(c.leads, host)
			continue
		}
		heard++
		if one.ahead > step+c.maxFuture {
			ahead++
		}
	}
	most := 2*ahead > heard
	switch {
	case most && (heard >= fewAgents || since < firstMinute):
		return fmt.Sprintf("%d of %d agents are ahead of it by more than %s", ahead, heard, c.maxFuture)
	case heard >= fewAgents:
		return ""
	case step < -c.maxFuture/2:
		return fmt.Sprintf("it went back by %s since the start", -step.Round(time.Second))
	case !c.stored.IsZero() && c.stored.Add(since).Sub(now) > c.maxFuture:
		return fmt.Sprintf("there were samples of %s when the server started", c.stored.UTC().Format(time.RFC3339))
	default:
		return ""
	}
}

// hold remembers that a batch was not taken. It returns whether that is news.
func (c *clock) hold() (news bool) {
	since := time.Since(c.start)
	c.mu.Lock()
	defer c.mu.Unlock()
	news = since-c.held > holding
	c.held = since
	return news
}

// ready returns why agents have to hold their samples back, nil if they need not.
func (c *clock) ready(now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := time.Since(c.start)
	if since-c.held > holding {
		return nil
	}
	if reason := c.suspectLocked(now, since); reason != "" {
		return fmt.Errorf("the server's clock, at %s, seems to be slow: %s; agents keep samples that are ahead of it until it is set", now.UTC().Format(time.RFC3339), reason)
	}
	return nil
}
