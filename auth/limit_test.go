package auth

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"
)

func TestAddressLimiter(t *testing.T) {
	clock := newClock()
	l := newAddressLimiter(rate.Every(10*time.Second), 2, 100)
	a, b := AddressOwner("192.0.2.1:1"), AddressOwner("192.0.2.2:1")
	require.Zero(t, l.take(a, clock.now()))
	require.Zero(t, l.take(a, clock.now()))
	require.Equal(t, 10*time.Second, l.take(a, clock.now()))
	require.Zero(t, l.take(b, clock.now()), "addresses do not share")
	clock.advance(4 * time.Second)
	require.InDelta(t, 6*time.Second, l.take(a, clock.now()), float64(time.Microsecond), "being refused costs nothing")
	clock.advance(6 * time.Second)
	require.Zero(t, l.take(a, clock.now()))
	require.Equal(t, 10*time.Second, l.take(a, clock.now()))
}

func TestAddressLimiterForgetsTheLongestSilent(t *testing.T) {
	now := newClock().now()
	l := newAddressLimiter(rate.Every(time.Hour), 1, 3)
	key := func(i int) netip.Prefix { return AddressOwner(fmt.Sprintf("192.0.2.%d:1", i)) }
	for i := range 3 {
		require.Zero(t, l.take(key(i), now))
	}
	require.NotZero(t, l.take(key(0), now), "0 is remembered, and the newest now")
	require.Zero(t, l.take(key(3), now), "pushes out 1")
	require.Len(t, l.byKey, 3)
	require.Equal(t, 3, l.recent.Len())
	require.NotZero(t, l.take(key(0), now))
	require.NotZero(t, l.take(key(2), now))
	require.Zero(t, l.take(key(1), now))
}

func TestLogIsBoundedAndTellsWhatItLeftOut(t *testing.T) {
	r := newRig(t, Options{})
	for range logBurst + 7 {
		r.denials.line().Warn("denied")
	}
	require.Equal(t, logBurst, strings.Count(r.log.String(), "msg=denied"))
	r.clock.advance(time.Second)
	r.denials.line().Warn("denied")
	require.Contains(t, r.log.String(), "suppressed=7")
	require.Zero(t, r.denials.suppressed.Load())
}

func TestPrintable(t *testing.T) {
	require.Equal(t, "/hosts/ä", printable("/hosts/ä"))
	require.Equal(t, "a��level=ERROR", printable("a\r\nlevel=ERROR"))
	require.Equal(t, "�[31m", printable("\x1b[31m"))
	require.Equal(t, "��", printable("\u2028\u202e"))
	require.Equal(t, "a�", printable("a\xff"))
	long := printable(strings.Repeat("ä", 1000))
	require.LessOrEqual(t, len(long), maxLogged+len("…"))
}
