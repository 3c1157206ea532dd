package chaos

import (
	"errors"
	"sync"
)

// point is a moment in the life of a batch that traffic shows.
type point string

// The points. At those that say before, what passes is held back when a trap springs, and lost.
const (
	beforeCopy       point = "before COPY"
	afterCopy        point = "after COPY"
	beforeCommit     point = "before the commit"
	commitSent       point = "commit sent"          // its outcome is anybody's guess
	commitAnswerLost point = "commit's answer lost" // it succeeded, and the server does not learn it
	commitAnswered   point = "commit answered"      // the acknowledgement is still to come
	beforeWelcome    point = "before the welcome"
	afterWelcome     point = "after the welcome"
	beforeAck        point = "before an ack"
	afterAck         point = "after an ack"
)

// errSprung cuts the connection at whose traffic a trap sprang.
var errSprung = errors.New("a trap cut the connection")

// traps is where faults wait for a point. The zero value has none. It is safe for concurrent use.
type traps struct {
	mu      sync.Mutex
	one     *trap
	refused int
}

// trap waits for one passing of a point, which it then turns into a fault.
type trap struct {
	at     point
	skip   int
	keep   bool // the connection goes on
	action func()
	sprung chan struct{} // closed when the action has run
}

// set waits for the point, not counting the first skip times. There is one trap at a time.
func (t *traps) set(at point, skip int, keep bool, action func()) *trap {
	one := &trap{at: at, skip: skip, keep: keep, action: action, sprung: make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.one = one
	return one
}

// refuse counts a commit that the database refused, as its cursors had moved.
func (t *traps) refuse() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refused++
}

// refusals is how many there were.
func (t *traps) refusals() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.refused
}

// clear takes the trap away, sprung or not.
func (t *traps) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.one = nil
}

// pass tells that traffic is at the point. It returns errSprung if the connection must be cut.
func (t *traps) pass(at point) error {
	t.mu.Lock()
	one := t.one
	if one == nil || one.at != at {
		t.mu.Unlock()
		return nil
	}
	if one.skip > 0 {
		one.skip--
		t.mu.Unlock()
		return nil
	}
	t.one = nil
	t.mu.Unlock()
	one.action()
	close(one.sprung)
	if one.keep {
		return nil
	}
	return errSprung
}
