package storagetest

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// Database is a driver under test.
type Database struct {
	// Open opens an empty database, the same one at every call of one test.
	Open func(t *testing.T, options storage.Options) storage.Store
	// Select returns the rows of a query on it as numbers; NULL is NaN.
	Select func(t *testing.T, sql string) [][]float64
	// Millis makes Unix milliseconds of a time in SQL.
	Millis func(expression string) string
	// Ahead: an interrupted rollup may leave buckets that Coverage does not tell of yet.
	Ahead bool
}

// RunRollups runs the suite of rollups and retention.
func RunRollups(t *testing.T, open func(t *testing.T) Database) {
	cases := []struct {
		name string
		run  func(*testing.T, *rollups)
	}{
		{"EveryResolutionHasWhatTheSamplesSay", rollsUp},
		{"LateSamplesChangeWhatWasRolledUp", rollsUpLate},
		{"SamplesFromBeforeTheFirstOnesAreLate", rollsUpOlder},
		{"AnInterruptedRollupGoesOn", rollsUpAfterRestart},
		{"ManyAtOnceDoNothingTwice", rollsUpTogether},
		{"NothingIsRolledUpTwiceWhileSamplesCome", rollsUpUnderIngest},
		{"NothingIsThereBeforeThereAreSamples", rollsUpNothing},
		{"TimeWithoutSamplesIsPassed", rollsUpAfterPause},
		{"LagIsOfSamplesThatWait", lag},
		{"RetentionDropsWhatIsRolledUp", retains},
		{"LongerRetentionRemakesNothingThatIsGone", retainsLonger},
		{"AClockThatIsAheadAtAStartNeitherClaimsNorDrops", startsAhead},
		{"AClockThatNoSampleSpeaksAgainstIsBelievedInAWeek", startsAfterSilence},
		{"OneWrongHostOfFiveDoesNotConfirmTheClock", oneConfirms},
		{"WhatAWrongClockClaimedIsTakenBack", takesBack},
		{"AClockThatIsBehindForMinutesTakesNothingBack", startsBehind},
		{"TwoHoursThatAreTakenBackNoteTwoHours", notesTwoHours},
		{"EphemeralFamiliesAreNotRolledUp", ephemeral},
		{"CustomMetricsAreRolledUp", rollsUpCustom},
		{"RandomSamplesRandomlyLate", rollsUpRandom},
	}
	var count tally
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Cleanup(func() { count.add(t) })
			r := &rollups{Database: open(t), clock: base.Add(72 * time.Hour)}
			r.store = r.Open(t, r.options())
			defer func() { require.NoError(t, r.store.Close()) }()
			count.name(t, r.store)
			c.run(t, r)
		})
	}
	count.tell(t)
}

// RunChangedRollups rolls up, has the database changed in a way that must change no answer, and goes on with what change returns.
func RunChangedRollups(t *testing.T, database Database, change func(*testing.T, storage.Store, storage.Options) storage.Store) {
	r := &rollups{Database: database, clock: base.Add(80 * time.Hour)}
	r.store = r.Open(t, r.options())
	defer func() { require.NoError(t, r.store.Close()) }()
	h := r.addHost(t)
	for n := range 200 {
		r.send(t, h, sampleAt(base.Add(time.Duration(n)*23*time.Minute), n))
	}
	r.rollUp(t)
	require.Positive(t, r.check(t, h, base))
	r.store = change(t, r.store, r.options())
	r.check(t, h, base)
	r.rollUp(t)
	require.Positive(t, r.check(t, h, base))
	other := r.addHost(t)
	for _, one := range r.hosts { // late, before and after the start of the day
		r.send(t, one, sampleAt(base.Add(31*time.Second), 13), sampleAt(base.Add(72*time.Hour-time.Second), 17), sampleAt(base.Add(72*time.Hour), 14),
			sampleAt(base.Add(75*time.Hour+time.Second), 16), sampleAt(r.clock.Add(-time.Second), 19))
	}
	for range 2 {
		r.rollUp(t)
		require.Positive(t, r.check(t, h, base))
		require.Positive(t, r.check(t, other, base))
		r.clock = r.clock.Add(24 * time.Hour)
	}
}

// rollups is a database with what should be in it.
type rollups struct {
	Database
	store storage.Store
	clock time.Time
	log   *slog.Logger
	hosts []*rollupHost
}

type rollupHost struct {
	storage.Host
	seq     uint64
	samples map[int64]*gohubv1.Sample // by time
}

func (r *rollups) options() storage.Options {
	return storage.Options{Idle: true, Now: func() time.Time { return r.clock }, Logger: r.log}
}

func (r *rollups) addHost(t *testing.T) *rollupHost {
	h := &rollupHost{Host: register(t, r.store), samples: map[int64]*gohubv1.Sample{}}
	r.hosts = append(r.hosts, h)
	return h
}

// send appends samples, each in a batch of its own, in one call.
func (r *rollups) send(t *testing.T, h *rollupHost, samples ...*gohubv1.Sample) {
	t.Helper()
	require.NoError(t, r.append(t.Context(), h, samples...))
}

func (r *rollups) append(ctx context.Context, h *rollupHost, samples ...*gohubv1.Sample) error {
	var batches []*storage.Batch
	for _, sample := range samples {
		h.samples[sample.GetTimeUnixMillis()] = sample
		batches = append(batches, &storage.Batch{
			Host: h.ID, Epoch: 7, Prev: h.seq, Seq: h.seq + 1, ReceivedAt: r.clock, Rows: Rows(h.ID, r.clock, sample),
		})
		h.seq++
	}
	outcomes, err := r.store.Append(ctx, batches)
	for _, outcome := range outcomes {
		if outcome != storage.Stored {
			return fmt.Errorf("outcome %d", outcome)
		}
	}
	return err
}

func (r *rollups) rollUp(t *testing.T) {
	t.Helper()
	require.NoError(t, r.store.RollUp(t.Context()))
}

func rollsUp(t *testing.T, r *rollups) {
	a, b := r.addHost(t), r.addHost(t)
	for n := range 400 {
		r.send(t, a, sampleAt(base.Add(time.Duration(n)*7*time.Minute), n))
		if n%4 == 0 {
			r.send(t, b, sampleAt(base.Add(time.Duration(n)*11*time.Second), n), sampleAt(base.Add(26*time.Hour+time.Duration(n)*time.Second), n+1))
		}
	}
	r.rollUp(t)
	for _, h := range r.hosts {
		require.Greater(t, r.check(t, h, base), 100)
	}
	coverage, err := r.store.Coverage(t.Context())
	require.NoError(t, err)
	require.Equal(t, r.clock.Add(-storage.RollupLag), coverage[storage.Minute].Until)
	require.Equal(t, r.clock.Add(-time.Hour), coverage[storage.Hour].Until)
	require.Equal(t, r.clock.Add(-24*time.Hour), coverage[storage.Day].Until)
	require.Zero(t, coverage[storage.Raw].Until)
	require.Equal(t, r.clock.Add(-storage.DefaultRetention.Raw), coverage[storage.Raw].From)
	require.Zero(t, coverage[storage.Day].From)
}

func rollsUpLate(t *testing.T, r *rollups) {
	a, b := r.addHost(t), r.addHost(t)
	for n := range 100 {
		r.send(t, a, sampleAt(base.Add(time.Duration(n)*20*time.Minute), n))
	}
	r.rollUp(t)
	require.Positive(t, r.check(t, a, base))
	r.send(t, a, sampleAt(base.Add(31*time.Second), 13), sampleAt(base.Add(29*time.Hour+time.Second), 14), sampleAt(r.clock.Add(-time.Second), 15))
	r.send(t, b, sampleAt(base.Add(45*time.Minute), 16)) // a host of which nothing was there
	r.rollUp(t)
	require.Positive(t, r.check(t, a, base))
	require.Positive(t, r.check(t, b, base))
	r.clock = r.clock.Add(24 * time.Hour)
	r.rollUp(t)
	require.Positive(t, r.check(t, a, base))
}

func rollsUpOlder(t *testing.T, r *rollups) {
	h := r.addHost(t)
	r.send(t, h, sampleAt(r.clock.Add(-time.Hour), 1))
	r.rollUp(t)
	r.send(t, h, sampleAt(base, 2))
	r.rollUp(t)
	require.Positive(t, r.check(t, h, base))
}

func rollsUpAfterRestart(t *testing.T, r *rollups) {
	h := r.addHost(t)
	for n := range 300 {
		r.send(t, h, sampleAt(base.Add(time.Duration(n)*10*time.Minute), n))
	}
	// Wherever it is cut off, what is there is right, and the next one goes on.
	for cut := time.Millisecond; ; cut *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), cut)
		err := r.store.RollUp(ctx)
		cancel()
		if err == nil {
			break
		}
		require.NoError(t, r.store.Close())
		r.store = r.Open(t, r.options())
		r.check(t, h, base)
	}
	require.Positive(t, r.check(t, h, base))
}

func rollsUpTogether(t *testing.T, r *rollups) {
	h := r.addHost(t)
	for n := range 200 {
		r.send(t, h, sampleAt(base.Add(time.Duration(n)*10*time.Minute), n))
	}
	failures := make(chan error, 4)
	for range cap(failures) {
		go func() { failures <- r.store.RollUp(context.WithoutCancel(t.Context())) }()
	}
	for range cap(failures) {
		require.NoError(t, <-failures)
	}
	r.rollUp(t)
	require.Positive(t, r.check(t, h, base))
}

// rollsUpUnderIngest has samples come, each older than what is rolled up meanwhile, while it is rolled up again and again.
func rollsUpUnderIngest(t *testing.T, r *rollups) {
	h := r.addHost(t)
	r.send(t, h, sampleAt(base, 1))
	const samples = 300
	clock, finished := r.clock, make(chan error, 1)
	go func() {
		for n := range samples {
			at := clock.Add(-storage.RollupLag - time.Duration(n%50)*time.Minute - time.Duration(n)*time.Second)
			if err := r.append(context.WithoutCancel(t.Context()), h, sampleAt(at, n)); err != nil {
				finished <- err
				return
			}
		}
		finished <- nil
	}()
	for done := false; !done; {
		select {
		case err := <-finished:
			require.NoError(t, err)
			done = true
		default:
			r.rollUp(t)
		}
	}
	r.rollUp(t)
	require.Positive(t, r.check(t, h, base))
}

func rollsUpNothing(t *testing.T, r *rollups) {
	r.rollUp(t)
	h := r.addHost(t)
	r.rollUp(t)
	r.send(t, h, sampleAt(r.clock.Add(-10*time.Hour), 1))
	r.rollUp(t)
	require.Positive(t, r.check(t, h, base))
}

func rollsUpAfterPause(t *testing.T, r *rollups) {
	h := r.addHost(t)
	for n := range 5 {
		r.send(t, h, sampleAt(base.Add(time.Duration(n)*7*time.Hour), n))
		r.send(t, h, sampleAt(base.Add(60*24*time.Hour+time.Duration(n)*7*time.Hour), n+7))
	}
	r.clock = base.Add(63 * 24 * time.Hour)
	r.rollUp(t)
	// 10 minutes and hours, and days: 2 of each end.
	require.Greater(t, r.check(t, h, base), 100)
}

// casesVariable says how many random cases there are; without it a few.
const casesVariable = "GOHUB_TEST_ROLLUP_CASES"

func rollsUpRandom(t *testing.T, r *rollups) {
	cases := 20
	if text := os.Getenv(casesVariable); text != "" {
		var err error
		cases, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	for range 3 {
		r.addHost(t)
	}
	checked := 0
	for range cases {
		since := r.clock.Add(-26 * time.Hour)
		for _, h := range r.hosts {
			var samples []*gohubv1.Sample
			for range random.IntN(8) {
				at := r.clock.Add(-time.Duration(random.Int64N(int64(24 * time.Hour))))
				if random.IntN(3) == 0 { // many in one minute
					at = r.clock.Add(-time.Duration(random.Int64N(int64(2 * time.Minute))))
				}
				at = at.Truncate(time.Millisecond)
				if h.samples[at.UnixMilli()] == nil {
					samples = append(samples, sampleAt(at, random.IntN(1000)))
				}
			}
			if len(samples) > 0 {
				r.send(t, h, samples...)
			}
			for at := range h.samples { // what no rollup that is looked at depends on
				if at < since.Add(-50*time.Hour).UnixMilli() {
					delete(h.samples, at)
				}
			}
		}
		if random.IntN(3) > 0 {
			r.rollUp(t)
			h := r.hosts[random.IntN(len(r.hosts))]
			checked += r.check(t, h, since)
		}
		r.clock = r.clock.Add(time.Duration(random.Int64N(int64(time.Hour))))
	}
	r.rollUp(t)
	require.Positive(t, checked)
	t.Logf("%d cases, %d buckets held against the samples", cases, checked)
}
