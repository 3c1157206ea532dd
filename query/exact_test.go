package query

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/sqlite"
	"github.com/gohub-io/gohub/storage/storagetest"
	"github.com/gohub-io/gohub/storage/timescale"
)

// covered is a store that tells of less rollups than it has.
type covered struct {
	storage.Store
	coverage []storage.Coverage
}

func (c *covered) Coverage(context.Context) ([]storage.Coverage, error) { return c.coverage, nil }

// reading is a raw reading of one series, as the test keeps it beside the store.
type reading struct {
	host     storage.HostID
	labels   string // the interface
	at       time.Time
	value    float64
	hasValue bool
}

// world is a store with random samples of some hosts.
type world struct {
	store *covered
	fleet fleet
	// readings by metric.
	readings map[string][]reading
	begin    time.Time
	// late is half of each host's samples, not stored yet.
	late []*storage.Batch
}

const worldDays = 4

// worldBegin is two days before clocks go forward in Europe, and not long before a month's end.
var worldBegin = at("2026-03-27 00:00:00")

func newWorld(t *testing.T, random *rand.Rand, store storage.Store) *world {
	w := &world{store: &covered{Store: store}, fleet: fleet{}, readings: map[string][]reading{}, begin: worldBegin}
	sites := []string{"ams", "fra", ""}
	for i := range 5 {
		facts := &gohubv1.HostFacts{Hostname: fmt.Sprintf("web-%d", i), Os: []string{"linux", "windows"}[i%2], IntervalMillis: 1000, Labels: map[string]string{"site": sites[i%3]}}
		host, _ := storagetest.Register(t, store, storage.Registration{AgentID: uuid.New(), Epoch: 1, Facts: facts, At: w.begin})
		w.fleet[host.ID] = &gohubv1.Host{HostId: uint32(host.ID), Facts: facts, Labels: facts.GetLabels()}
		var samples []*gohubv1.Sample
		for j := range 250 {
			// Many around few moments, so that buckets have several readings and some have none.
			taken := w.begin.Add(time.Duration(random.IntN(worldDays*24))*time.Hour + time.Duration(random.IntN(600))*time.Second)
			if j%5 == 0 {
				taken = w.begin.Add(time.Duration(random.Int64N(int64(worldDays*day/time.Millisecond))) * time.Millisecond)
			}
			sample := &gohubv1.Sample{TimeUnixMillis: taken.UnixMilli(), Host: &gohubv1.HostMetrics{}}
			cpu := reading{host: host.ID, at: taken, value: float64(float32(random.NormFloat64() * 100)), hasValue: random.IntN(10) > 0}
			if cpu.hasValue {
				sample.Host.CpuUsagePercent = proto.Float32(float32(cpu.value))
			}
			w.readings["cpu_usage_percent"] = append(w.readings["cpu_usage_percent"], cpu)
			for _, name := range []string{"eth0", `"'; --`}[:random.IntN(3)] {
				total := reading{host: host.ID, labels: name, at: taken, value: float64(random.Uint64N(1 << 45)), hasValue: true}
				sample.Networks = append(sample.Networks, &gohubv1.NetworkMetrics{Interface: name, ReceiveBytesTotal: proto.Uint64(uint64(total.value))})
				w.readings["network_receive_bytes_total"] = append(w.readings["network_receive_bytes_total"], total)
			}
			samples = append(samples, sample)
		}
		half := len(samples) / 2
		batch := &storage.Batch{Host: host.ID, Epoch: 1, Seq: 1, ReceivedAt: w.begin, Rows: storagetest.Rows(host.ID, w.begin, samples[:half]...)}
		_, err := store.Append(t.Context(), []*storage.Batch{batch})
		require.NoError(t, err)
		w.late = append(w.late, &storage.Batch{Host: host.ID, Epoch: 1, Prev: 1, Seq: 2, ReceivedAt: w.begin, Rows: storagetest.Rows(host.ID, w.begin, samples[half:]...)})
	}
	return w
}

// cover rolls up to random times, and lets retention have dropped some of what is finer.
func (w *world) cover(random *rand.Rand) {
	w.store.coverage = []storage.Coverage{{Resolution: storage.Raw}}
	until := w.begin.Add(time.Duration(random.IntN(worldDays*24*60)) * time.Minute)
	for _, r := range storage.Resolutions[1:] {
		one := storage.Coverage{Resolution: r}
		if random.IntN(5) > 0 {
			one.Until = floor(until, r.Step())
			until = one.Until
		}
		w.store.coverage = append(w.store.coverage, one)
	}
	if random.IntN(3) == 0 { // a coarser one keeps what this one has not any more
		r := random.IntN(len(storage.Resolutions) - 1)
		if coarser := w.store.coverage[r+1]; !coarser.Until.IsZero() {
			from := w.begin.Add(time.Duration(random.Int64N(int64(coarser.Until.Sub(w.begin)/time.Minute)+1)) * time.Minute)
			w.store.coverage[r].From = from
		}
	}
}

// expected is what the readings make of a query, in buckets of the answer.
func (w *world) expected(q *rangeQuery, metric string) map[string]map[int64][3]float64 {
	type series struct {
		host  storage.HostID
		label string
	}
	buckets := map[series]map[int64][]float64{}
	in := func(at time.Time) (int64, bool) {
		if at.Before(q.from) || !at.Before(q.to) {
			return 0, false
		}
		if len(q.edges) > 0 {
			i, exact := slices.BinarySearchFunc(q.edges, at, func(edge, at time.Time) int { return edge.Compare(at) })
			if !exact {
				i--
			}
			return q.edges[i].UnixMilli(), true
		}
		return floor(at, q.step).UnixMilli(), true
	}
	wanted := map[storage.HostID]int{}
	for i, host := range q.hosts.hosts {
		wanted[storage.HostID(host.GetHostId())] = i
	}
	for _, r := range w.readings[metric] {
		bucket, inside := in(r.at)
		if _, asked := wanted[r.host]; !inside || !asked || !r.hasValue {
			continue
		}
		key := series{r.host, r.labels}
		if buckets[key] == nil {
			buckets[key] = map[int64][]float64{}
		}
		buckets[key][bucket] = append(buckets[key][bucket], r.value)
	}
	type triple struct{ values, least, greatest []float64 }
	grouped := map[string]map[int64]*triple{}
	for key, byBucket := range buckets {
		name := fmt.Sprintf("%d/%s", key.host, key.label)
		if q.across != nil {
			name = "/"
			if q.across.Groups != nil {
				name = strconv.Itoa(int(q.across.Groups[wanted[key.host]])) + "/"
			}
			if slices.Contains(q.across.By, "interface") {
				name += key.label
			}
		}
		if grouped[name] == nil {
			grouped[name] = map[int64]*triple{}
		}
		for bucket, values := range byBucket {
			if grouped[name][bucket] == nil {
				grouped[name][bucket] = &triple{}
			}
			one := grouped[name][bucket]
			one.values = append(one.values, mean(values))
			one.least, one.greatest = append(one.least, slices.Min(values)), append(one.greatest, slices.Max(values))
		}
	}
	result := map[string]map[int64][3]float64{}
	for name, byBucket := range grouped {
		result[name] = map[int64][3]float64{}
		for bucket, t := range byBucket {
			value, least, greatest := mean(t.values), slices.Min(t.least), slices.Max(t.greatest)
			if q.across != nil {
				switch q.across.Function {
				case storage.Least:
					value = slices.Min(t.values)
				case storage.Greatest:
					value = slices.Max(t.values)
				case storage.Sum:
					value, least, greatest = sum(t.values), sum(t.least), sum(t.greatest)
				case storage.Quantile:
					slices.Sort(t.values)
					place := q.across.Quantile * float64(len(t.values)-1)
					below := t.values[int(place)]
					above := t.values[min(int(place)+1, len(t.values)-1)]
					value = below + (above-below)*(place-math.Floor(place))
				}
			}
			result[name][bucket] = [3]float64{value, least, greatest}
		}
	}
	if q.top != nil {
		names := slices.SortedFunc(maps.Keys(result), func(a, b string) int {
			return int(math.Copysign(1, meanOf(result[b])-meanOf(result[a])))
		})
		for _, name := range names[min(q.top.Series, len(names)):] {
			delete(result, name)
		}
	}
	return result
}

func sum(values []float64) (total float64) {
	for _, value := range values {
		total += value
	}
	return total
}

func mean(values []float64) float64 { return sum(values) / float64(len(values)) }

func meanOf(buckets map[int64][3]float64) float64 {
	var all []float64
	for _, bucket := range buckets {
		all = append(all, bucket[0])
	}
	return mean(all)
}

func pick[T any](random *rand.Rand, of ...T) T { return of[random.IntN(len(of))] }

// randomRequest asks for some of the world in some way.
func (w *world) randomRequest(random *rand.Rand) *gohubv1.QueryRangeRequest {
	from := w.begin.Add(time.Duration(random.IntN(worldDays*24*60)-60) * time.Minute)
	length := time.Duration(1+random.IntN(pick(random, 120, 24*60, worldDays*24*60))) * time.Minute
	request := &gohubv1.QueryRangeRequest{
		Metrics: []string{pick(random, "cpu_usage_percent", "network_receive_bytes_total")}, From: seconds(from), To: seconds(from.Add(length)),
		Selector: pick(random, "*", `site="ams"`, `site!=""`, `hostname=~"web-[0-2]"`, `os="linux",site!~"f.*"`, `hostname="web-1"`),
	}
	if steps := []float64{30, 60, 90, 300, 3600, 5400, 7200, 86400, 2 * 86400}; random.IntN(3) > 0 {
		request.Step = pick(random, steps...)
	} else {
		request.MaxPoints = uint32(1 + random.IntN(400))
	}
	if random.IntN(2) == 0 {
		request.Aggregate = pick(random, "avg", "min", "max", "sum", "quantile")
		if request.Aggregate == "quantile" {
			request.Quantile = pick(random, 0.5, 0.95, 1)
		}
		request.GroupBy = pick(random, nil, []string{"site"}, []string{"site", "os"}, []string{"host"})
		if request.Metrics[0] != "cpu_usage_percent" && random.IntN(2) == 0 {
			request.GroupBy = append(request.GroupBy, "interface")
		}
	}
	if random.IntN(4) == 0 {
		request.Top = uint32(1 + random.IntN(3))
	}
	switch random.IntN(6) {
	case 0:
		request.Timezone = pick(random, "Europe/Berlin", "Asia/Kolkata", "America/New_York")
		request.Step = pick(random, 86400.0, 2*86400)
	case 1:
		request.Calendar, request.Step, request.Timezone = "month", 0, pick(random, "", "Europe/Berlin")
	}
	return request
}

// check holds one answer against the readings.
func (w *world) check(t *testing.T, service *Service, request *gohubv1.QueryRangeRequest) storage.Resolution {
	q, err := service.readQuery(t.Context(), request)
	if err != nil && strings.Contains(err.Error(), "the limit is") {
		return storage.Raw
	}
	require.NoError(t, err, "%v", request)
	require.NoError(t, service.planQuery(t.Context(), q), "%v", request)
	response, err := service.answer(t.Context(), q)
	require.NoError(t, err, "%v", request)
	for i, part := range q.parts {
		require.True(t, part.From.Before(part.To), "%v", q.parts)
		if i > 0 {
			require.Equal(t, q.parts[i-1].To, part.From)
		}
	}
	w.checkParts(t, q)
	require.Equal(t, q.from, q.parts[0].From)
	require.Equal(t, q.to, q.parts[len(q.parts)-1].To)

	want := w.expected(q, request.GetMetrics()[0])
	require.Len(t, response.GetSeries(), len(want), "%v\n%v", request, q.parts)
	for _, series := range response.GetSeries() {
		name := fmt.Sprintf("%d/%s", series.GetHostId(), series.GetLabels()["interface"])
		if q.across != nil {
			name = "/" + series.GetLabels()["interface"]
			if q.groups != nil {
				group := slices.IndexFunc(q.groups, func(values map[string]string) bool { return maps.Equal(values, series.GetGroup()) })
				name = strconv.Itoa(group) + name
			}
		}
		require.Contains(t, want, name, "%v", request)
		require.Len(t, series.GetTimes(), len(want[name]), "%v\n%v", request, q.parts)
		for i, at := range series.GetTimes() {
			bucket, there := want[name][int64(math.Round(at*1000))]
			require.True(t, there, "%v", at)
			for j, got := range []float64{series.GetAvg()[i], series.GetMin()[i], series.GetMax()[i]} {
				// An answer of a float has seven digits.
				require.InDelta(t, bucket[j], got, 2e-6*math.Max(math.Abs(bucket[j]), 1), "%v\n%v", request, q.parts)
			}
		}
	}
	return q.resolution()
}

// checkParts fails where a part is read from a resolution that does not have it, while another has.
func (w *world) checkParts(t *testing.T, q *rangeQuery) {
	has := func(r storage.Resolution, at time.Time) bool {
		one := w.store.coverage[r]
		return !at.Before(one.From) && (r == storage.Raw || at.Before(one.Until))
	}
	for _, part := range q.parts {
		if part.Resolution != storage.Raw {
			require.True(t, has(part.Resolution, part.From) && has(part.Resolution, part.To.Add(-1)), "%v of %v", part, w.store.coverage)
		} else if !has(storage.Raw, part.From) {
			require.False(t, slices.ContainsFunc(storage.Resolutions[1:], func(r storage.Resolution) bool { return has(r, part.From) && q.takes(r) }),
				"%v of %v", part, w.store.coverage)
		}
	}
}

// TestAnswersAreTheAggregatesOfRawRows holds the planner, whatever it reads from where, against the raw readings.
// GOHUB_TEST_CASES sets the number of random queries on each database.
func TestAnswersAreTheAggregatesOfRawRows(t *testing.T) {
	cases := 60
	if text := os.Getenv("GOHUB_TEST_CASES"); text != "" {
		var err error
		cases, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	for name, open := range drivers {
		t.Run(name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			now := worldBegin.Add(worldDays*day + time.Hour)
			store := open(t, storage.Options{Idle: true, Now: func() time.Time { return now }, Retention: &storage.Retention{Raw: worldDays*day + 2*time.Hour, Minute: (worldDays + 1) * day}})
			w := newWorld(t, random, store)
			require.NoError(t, store.RollUp(t.Context()))
			_, err := store.Append(t.Context(), w.late)
			require.NoError(t, err)
			require.NoError(t, store.RollUp(t.Context()))
			service := NewService(Options{Store: w.store, Fleet: w.fleet, Now: func() time.Time { return w.begin.Add(worldDays * day) }, Logger: slog.New(slog.DiscardHandler)})
			read := map[storage.Resolution]int{}
			for range cases {
				w.cover(random)
				read[w.check(t, service, w.randomRequest(random))]++
			}
			t.Logf("queries by the coarsest resolution that they read: %v", read)

			// What retention drops can be asked for all the same, from what is kept.
			now = worldBegin.Add((worldDays + 2) * day)
			require.NoError(t, store.RollUp(t.Context()))
			w.store.coverage, err = store.Coverage(t.Context())
			require.NoError(t, err)
			require.True(t, w.store.coverage[storage.Raw].From.After(w.begin))
			for range cases / 3 {
				w.check(t, service, w.randomRequest(random))
			}
			for _, r := range storage.Resolutions {
				require.Positive(t, read[r], "no query read %s", r)
			}
		})
	}
}

// drivers open a store.
var drivers = map[string]func(t *testing.T, options storage.Options) storage.Store{
	"sqlite": func(t *testing.T, options storage.Options) storage.Store {
		store, err := sqlite.Open(t.TempDir(), options)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, store.Close()) })
		return store
	},
	"timescaledb": func(t *testing.T, options storage.Options) storage.Store {
		store, err := timescale.Open(t.Context(), storagetest.DatabaseURL(t), options)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, store.Close()) })
		return store
	},
}
