package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/gohub-io/gohub/live"
	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// incoming is room to decode in.
type incoming struct {
	update gohubv1.RelayUpdate
	sample catalogue.Sample
}

// maxPeers bounds the servers that are remembered, far above what a fleet needs.
const maxPeers = 256

// receive takes an update of another server. NATS calls it for one after the other.
func (r *Relay) receive(message *nats.Msg) {
	r.metrics.received.count(len(message.Data))
	update := &r.incoming.update
	if err := proto.Unmarshal(message.Data, update); err != nil || update.GetServer() == "" {
		r.metrics.refused.Inc()
		return
	}
	if update.GetServer() == r.id {
		return
	}
	now := r.now()
	r.mu.Lock()
	p := r.peers[update.GetServer()]
	if p == nil {
		if p = r.meet(update, now); p == nil {
			r.mu.Unlock()
			return
		}
	} else if p.update(update.GetSeq()) {
		p.behind = true
		r.metrics.gaps.Inc()
	}
	delay := p.delay(now, update.GetSentUnixMicros())
	if delay > tooLate {
		p.behind = true
	}
	p.seen = now
	p.deaf = update.GetDeaf()
	p.live.SetDeaf(p.deaf)
	if !p.behind && !p.catching {
		p.heard(now.Add(-delay))
	}
	if p.left = update.GetGoodbye(); p.left {
		p.lose()
	}
	r.catchUp(p, now)
	r.judge(now)
	r.mu.Unlock()

	for _, h := range update.GetHosts() {
		r.show(p.live, h, &r.incoming.sample, since(now.Add(-delay), update.GetSentUnixMicros()))
	}
	if update.GetLabelsChanged() {
		r.readLabels()
	}
}

// meet makes a server known by its first update here, or returns nil. It is called with mu held.
func (r *Relay) meet(update *gohubv1.RelayUpdate, now time.Time) *peer {
	if len(r.peers) == maxPeers || update.GetGoodbye() {
		return nil
	}
	p := &peer{id: update.GetServer(), live: r.state.NewPeer(), next: update.GetSeq() + 1, known: now, behind: true}
	r.peers[p.id] = p
	r.log.Info("another server is here", "server", p.id)
	return p
}

// since makes times of this server's clock of those of another's, which sent them at a time that was here then.
func since(then time.Time, sentMicros int64) func(micros int64) time.Time {
	return func(micros int64) time.Time {
		return then.Add(-time.Duration(max(sentMicros-micros, 0)) * time.Microsecond)
	}
}

// show tells the State what another server has told of a host. at makes a time of this server's clock of one of that server's.
func (r *Relay) show(from *live.Peer, h *gohubv1.RelayHost, sample *catalogue.Sample, at func(micros int64) time.Time) {
	id := storage.HostID(h.GetHostId())
	if h.GetFacts() != nil {
		agent, err := uuid.Parse(h.GetAgentId())
		if err != nil {
			r.metrics.refused.Inc()
			return
		}
		if _, known := r.state.Identity(id); !known {
			r.readLabels()
		}
		host := storage.Host{ID: id, AgentID: agent, Facts: h.GetFacts()}
		if micros := h.GetFirstSeenUnixMicros(); micros != 0 {
			host.FirstSeen = time.UnixMicro(micros)
		}
		if micros := h.GetClonedUnixMicros(); micros != 0 {
			host.ClonedAt = at(micros)
		}
		from.SetHost(host)
	}
	if len(h.GetSample()) == 0 {
		return
	}
	if err := sample.Decode(string(h.GetSample())); err != nil || sample.Unfit() != "" {
		r.metrics.refused.Inc()
		return
	}
	if h.GetHeardUnixMicros() == 0 {
		from.Observe(id, sample, at(h.GetReceivedUnixMicros()))
	} else {
		from.Catch(id, sample, at(h.GetReceivedUnixMicros()), at(h.GetHeardUnixMicros()), at(h.GetUpSinceUnixMicros()))
	}
	sample.Forget()
}

// catchUp starts to ask a server for its hosts, if that is due, and the server may answer. It is called with mu held.
func (r *Relay) catchUp(p *peer, now time.Time) {
	due := p.behind && !p.catching && !now.Before(p.retry)
	if !due || p.left || now.Sub(p.seen) > r.options.Silence || r.startCatch == nil {
		return
	}
	p.behind, p.catching = false, true
	r.metrics.resyncs.Inc()
	r.startCatch(p)
}

// catch asks a server for its hosts, and counts it as heard when it has them all.
func (r *Relay) catch(ctx context.Context, p *peer) {
	begun := r.now()
	err := r.readPages(ctx, p)
	r.readLabels() // that they changed may have been missed too
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	// If updates are missed all the time, asking all the time would not help.
	p.catching, p.retry = false, now.Add(r.options.Heartbeat)
	switch {
	case err != nil:
		p.behind = true
		if ctx.Err() == nil {
			r.log.Debug("the hosts of another server not read; trying again", "server", p.id, "error", err)
		}
	case !p.behind && !p.left:
		// What came meanwhile came in order.
		p.heard(begun)
	}
	r.catchUp(p, now)
	r.judge(now)
}

// readPages asks a server for its hosts, page by page, so that neither side holds many of them.
func (r *Relay) readPages(ctx context.Context, p *peer) error {
	var sample catalogue.Sample
	request := &gohubv1.RelayRequest{}
	for {
		wire, err := proto.Marshal(request)
		if err != nil {
			return fmt.Errorf("encode a request: %w", err)
		}
		asked := r.now()
		waiting, cancel := context.WithTimeout(ctx, r.options.Silence)
		answer, err := r.bus.RequestWithContext(waiting, r.subjects.pagesOf(p.id), wire)
		cancel()
		if err != nil {
			return fmt.Errorf("ask server %s for its hosts: %w", p.id, err)
		}
		now := r.now()
		page := &gohubv1.RelayPage{}
		if err := proto.Unmarshal(answer.Data, page); err != nil {
			return fmt.Errorf("decode the hosts of server %s: %w", p.id, err)
		}
		r.metrics.received.count(len(answer.Data))
		r.mu.Lock()
		p.answered(now, asked, page.GetSentUnixMicros())
		p.seen = now
		r.mu.Unlock()
		for _, h := range page.GetHosts() {
			r.show(p.live, h, &sample, since(now, page.GetSentUnixMicros()))
		}
		if !page.GetMore() || len(page.GetHosts()) == 0 {
			return nil
		}
		request.AfterHostId = page.GetHosts()[len(page.GetHosts())-1].GetHostId()
	}
}

// answer tells another server of hosts that this one hears. NATS calls it for one request after the other.
func (r *Relay) answer(request *nats.Msg) {
	asked := &gohubv1.RelayRequest{}
	if err := proto.Unmarshal(request.Data, asked); err != nil {
		r.metrics.refused.Inc()
		return
	}
	page := &gohubv1.RelayPage{Deaf: r.state.Deaf()}
	bytes := 0
	r.state.Own(storage.HostID(asked.GetAfterHostId()), func(own *live.Own) bool {
		if bytes >= messageBytes {
			page.More = true
			return false
		}
		h := &gohubv1.RelayHost{
			HostId: own.Identity.GetHostId(), AgentId: own.Identity.GetAgentId(), Facts: own.Identity.GetFacts(), FirstSeenUnixMicros: micros(own.Identity.GetFirstSeen().AsTime()),
			Sample:             []byte(trim(string(own.Sample), sampleBytes)),
			ReceivedUnixMicros: own.Taken.UnixMicro(), HeardUnixMicros: own.Heard.UnixMicro(), UpSinceUnixMicros: own.UpSince.UnixMicro(),
			ClonedUnixMicros: micros(own.Identity.GetClonedAt().AsTime()),
		}
		page.Hosts = append(page.Hosts, h)
		bytes += proto.Size(h)
		return true
	})
	page.SentUnixMicros = r.now().UnixMicro()
	wire, err := proto.Marshal(page)
	if err == nil {
		err = request.Respond(wire)
	}
	if err != nil {
		r.log.Debug("hosts not told to another server", "error", err)
		return
	}
	r.metrics.sent.count(len(wire))
}

// watch judges the servers by the time, until ctx ends.
func (r *Relay) watch(ctx context.Context) {
	ticker := time.NewTicker(r.options.Heartbeat / 4)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		now := r.now()
		r.mu.Lock()
		for id, p := range r.peers {
			if !p.lost && now.Sub(p.known) > r.options.Silence {
				p.lose()
				r.log.Warn("another server is not heard: its hosts are unknown", "server", p.id, "since", p.lostAt)
			}
			r.catchUp(p, now)
			if p.lost && now.Sub(p.seen) > r.options.Forget && !p.catching {
				delete(r.peers, id)
				r.log.Info("another server is not waited for any more", "server", p.id)
			}
		}
		r.judge(now)
		r.mu.Unlock()
	}
}

// judge tells the State since when news of other servers may be missed. It is called with mu held.
func (r *Relay) judge(now time.Time) {
	apart := r.cut
	for _, p := range r.peers {
		if p.lost && (apart.IsZero() || p.lostAt.Before(apart)) {
			apart = p.lostAt
		}
	}
	if !apart.Equal(r.apart) {
		r.apart = apart
		r.state.SetApart(apart)
	}
}

// connected and disconnected are told by NATS.
func (r *Relay) connected() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	r.cut = time.Time{}
	for _, p := range r.peers {
		p.behind, p.retry = true, time.Time{}
		r.catchUp(p, now)
	}
	r.judge(now)
	r.log.Info("connected to NATS")
}

func (r *Relay) disconnected(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cut.IsZero() {
		r.cut = r.now()
	}
	r.judge(r.cut)
	if err != nil {
		r.log.Warn("disconnected from NATS: other servers' hosts are unknown until it is back", "error", redact(err.Error(), r.options.URL))
	}
}

// complain tells of what NATS could not do in the background.
func (r *Relay) complain(err error) {
	if errors.Is(err, nats.ErrSlowConsumer) { // what was dropped is missing, which is noticed
		r.log.Debug("updates of other servers came faster than they were taken")
		return
	}
	r.log.Warn("NATS complains", "error", redact(err.Error(), r.options.URL))
}

// look compares labels with storage when they may have changed, and, while this server is apart, looks there for signs of hosts,
// until ctx ends.
func (r *Relay) look(ctx context.Context) {
	ticker := time.NewTicker(r.options.Look)
	defer ticker.Stop()
	pause := time.NewTimer(time.Hour)
	defer pause.Stop()
	var before []storage.Position // nil while not apart
	labels := false               // labels are to be read, and could not
	for {
		select {
		case <-r.labels:
			labels = !r.takeLabels(ctx)
			// While many hosts are new, once for many of them.
			pause.Reset(r.options.Heartbeat)
			select {
			case <-pause.C:
			case <-ctx.Done():
			}
			continue
		case <-ticker.C:
			if labels {
				labels = !r.takeLabels(ctx)
			}
		case <-ctx.Done():
			return
		}
		r.mu.Lock()
		apart := !r.apart.IsZero()
		r.mu.Unlock()
		if !apart {
			before = nil
			continue
		}
		before = r.compare(ctx, before)
	}
}

// takeLabels tells the State the labels, and the hosts that it does not know, and tells whether they could be read.
func (r *Relay) takeLabels(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	hosts, err := r.options.Store.Hosts(ctx)
	if err != nil {
		r.log.Debug("labels not read", "error", err)
		return false
	}
	for _, h := range hosts {
		if _, known := r.state.Identity(h.ID); !known {
			r.state.SetHost(h)
		}
		r.state.SetLabels(h.ID, h.Labels)
	}
	return true
}

// storeTimeout bounds a question to storage.
const storeTimeout = 5 * time.Second

// compare tells the State which hosts have stored something since before, and returns how far they are, by id as storage has them.
func (r *Relay) compare(ctx context.Context, before []storage.Position) []storage.Position {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	positions, err := r.options.Store.Positions(ctx, nil)
	if err != nil {
		r.log.Debug("positions not read", "error", err)
		return before
	}
	for _, p := range positions {
		i, found := slices.BinarySearchFunc(before, p.Host, func(b storage.Position, host storage.HostID) int { return cmp.Compare(b.Host, host) })
		if found && before[i].Seqs != p.Seqs {
			r.state.HeardElsewhere(p.Host)
		}
	}
	return positions
}
