package relay

import (
	"time"

	"github.com/gohub-io/gohub/live"
)

// peer is another server. Relay.mu guards its fields.
//
//	        an update is missing, or late              all pages have come
//	heard ───────────────────────────────▶ behind ───────────────────────────▶ heard
//	  │                                     │                                    ▲
//	  │ nothing for Silence, or farewell    │          all pages have come       │
//	  └───────────────▶ lost ◀──────────────┘                                    │
//	                     └───────────────────────────────────────────────────────┘
type peer struct {
	id   string
	live *live.Peer
	// next is the number of the update that follows.
	next uint64
	// known is until when all that the server has told is known here, by this server's clock, and lost whether that is so long
	// ago that its hosts are unknown. seen is when its newest update came.
	known, seen time.Time
	// lostAt is when its newest update came before it was lost.
	lost   bool
	lostAt time.Time
	// behind: an update was missed, and the hosts have to be asked for. catching: they are being asked for; again not before retry.
	behind, catching bool
	retry            time.Time
	// left: the server has said farewell. deaf: it can take no samples.
	left, deaf bool
	// path is the shortest way from the server here, with what its clock is ahead or behind, and measured when it was that.
	path     time.Duration
	measured time.Time
}

// tooLate is how late an update is not taken for new: it may have stood in a line that was dead for a while, and the clock of its
// server may have been set. Asking the server tells.
const tooLate = time.Second

// drift is how fast two clocks may drift apart at most: one part of this.
const drift = 1000

// delay is by how much longer an update was on its way than is usual.
func (p *peer) delay(now time.Time, sentMicros int64) time.Duration {
	way := now.Sub(time.UnixMicro(sentMicros))
	if allowed := p.path + now.Sub(p.measured)/drift; p.measured.IsZero() || way <= allowed {
		p.path, p.measured = way, now
		return 0
	}
	return way - p.path
}

// answered measures anew by an answer to what was asked at a time: it was sent since.
func (p *peer) answered(now, asked time.Time, sentMicros int64) {
	if p.delay(now, sentMicros) > now.Sub(asked) {
		p.path, p.measured = now.Sub(time.UnixMicro(sentMicros)), now
	}
}

// update takes the number of an update, and tells whether some are missing before it.
func (p *peer) update(seq uint64) (missing bool) {
	missing = seq != p.next
	p.next = seq + 1
	return missing
}

// heard tells that all is known until a time.
func (p *peer) heard(until time.Time) {
	if until.After(p.known) {
		p.known = until
	}
	if p.lost {
		p.lost = false
		p.live.SetLost(time.Time{})
	}
}

// lose tells the State that news of the server may be missed since its newest came. What comes first from a line that lives again is
// old, so the server has to be asked.
func (p *peer) lose() {
	p.lost, p.lostAt, p.behind = true, p.seen, true
	p.live.SetLost(p.lostAt)
}
