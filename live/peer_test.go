package live

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// TestStatusWhileAnotherServerIsNotHeard plays what a cut means for a host of the other server, one of this, and one that was dead
// before. Their agents send every 10 s, so they may be silent for 30 s and have 30 s more to come back.
func TestStatusWhileAnotherServerIsNotHeard(t *testing.T) {
	const (
		unknown = gohubv1.HostStatus_HOST_STATUS_UNSPECIFIED
		up      = gohubv1.HostStatus_HOST_STATUS_UP
		late    = gohubv1.HostStatus_HOST_STATUS_LATE
		down    = gohubv1.HostStatus_HOST_STATUS_DOWN
	)
	c := &clock{epoch}
	state := NewState(c.now)
	peer := state.NewPeer()
	const theirs, own, dead = 1, 2, 3
	sends := func(from *Peer, id int) {
		state.observe(from, storage.HostID(id), flat(hostSample(c.time, 1)), c.time)
	}
	for id, name := range map[int]string{theirs: "theirs", own: "own", dead: "dead"} {
		state.SetHost(testHost(storage.HostID(id), name))
	}
	is := func(id int, want gohubv1.HostStatus, since time.Time) {
		t.Helper()
		h, known := state.Host(storage.HostID(id))
		require.True(t, known)
		require.Equal(t, want, h.GetStatus())
		require.Equal(t, since.UTC(), h.GetStatusSince().AsTime())
	}
	sends(peer, dead)
	c.time = epoch.Add(2 * time.Minute)
	begun := c.time
	sends(peer, theirs)
	sends(nil, own)
	is(dead, down, epoch)

	c.time = begun.Add(3 * time.Second)
	state.SetApart(begun)
	peer.SetLost(begun)
	is(theirs, unknown, begun)
	is(own, up, begun)
	is(dead, down, epoch)

	c.time = begun.Add(25 * time.Second)
	is(own, late, begun)
	c.time = begun.Add(40 * time.Second)
	is(theirs, unknown, begun)
	is(own, unknown, begun)
	state.HeardElsewhere(theirs)

	c.time = begun.Add(61 * time.Second)
	is(theirs, unknown, begun)
	is(own, down, begun)
	c.time = begun.Add(101 * time.Second)
	is(theirs, down, begun)

	// What comes while the rest is being asked for is new. What was not told anew is so when all is known.
	sends(peer, theirs)
	again := c.time
	is(theirs, up, again)
	peer.SetLost(time.Time{})
	state.SetApart(time.Time{})
	is(theirs, up, again)
	is(own, down, begun)

	// The other has no database.
	peer.SetDeaf(true)
	c.time = again.Add(time.Hour)
	deaf := again
	is(theirs, unknown, deaf)
	is(own, down, begun)
	peer.SetDeaf(false)
	back := c.time
	is(theirs, unknown, back)
	c.time = back.Add(61 * time.Second)
	is(theirs, down, again)
}

// TestCatchTakesOnlyWhatIsNewer: what a server tells when it is asked may be older than what another has told since.
func TestCatchTakesOnlyWhatIsNewer(t *testing.T) {
	c := &clock{epoch}
	state := NewState(c.now)
	first, second := state.NewPeer(), state.NewPeer()
	state.SetHost(testHost(1, "web-1"))
	old := flat(hostSample(c.time, 1))
	first.Observe(1, old, c.time)
	c.time = epoch.Add(10 * time.Second)
	second.Observe(1, flat(hostSample(c.time, 2)), c.time)
	first.Catch(1, old, epoch, epoch, epoch.Add(-time.Hour))
	h, _ := state.Host(1)
	require.Equal(t, 2.0, h.GetLatest().GetValues()["cpu_usage_percent"])
	first.SetLost(c.time)
	h, _ = state.Host(1)
	require.Equal(t, gohubv1.HostStatus_HOST_STATUS_UP, h.GetStatus(), "it is the second's")

	newest := flat(hostSample(c.time, 3))
	second.Catch(1, newest, c.time, c.time.Add(time.Second), epoch.Add(-time.Hour))
	c.time = c.time.Add(time.Second)
	h, _ = state.Host(1)
	require.Equal(t, 3.0, h.GetLatest().GetValues()["cpu_usage_percent"])
	require.Equal(t, epoch.Add(-time.Hour), h.GetStatusSince().AsTime(), "up for as long as that server knows")
}

// TestOwnTellsOnlyTheProcessesOfItsSample: a peer that catches up would hold older ones for as long again.
func TestOwnTellsOnlyTheProcessesOfItsSample(t *testing.T) {
	c := &clock{epoch}
	state := NewState(c.now)
	told := func() (processes int) {
		t.Helper()
		state.Own(0, func(one *Own) bool {
			sample := &catalogue.Sample{}
			require.NoError(t, sample.Decode(string(one.Sample)))
			require.Equal(t, c.time.UnixMilli(), sample.TimeUnixMillis)
			process, _ := catalogue.MetricByName("process_cpu_percent")
			processes = process.Family.Count(sample)
			return true
		})
		return processes
	}
	sample := hostSample(c.time, 1)
	sample.Processes = []*gohubv1.ProcessMetrics{{Pid: "1", Name: "init"}}
	state.Observe(1, flat(sample), c.time)
	require.Equal(t, 1, told())
	c.time = c.time.Add(10 * time.Second)
	state.Observe(1, flat(hostSample(c.time, 2)), c.time)
	h, _ := state.Host(1)
	require.Len(t, h.GetLatest().GetInstances(), 1, "here they are held")
	require.Zero(t, told())
}
