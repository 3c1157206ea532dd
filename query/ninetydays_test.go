package query

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/storagetest"
)

// TestNinetyDays lets a database live for ninety days, one after the other, with a sample every ten minutes and one spike a
// week: what retention does not keep is gone, and a graph of all of it shows every spike.
func TestNinetyDays(t *testing.T) {
	const (
		days  = 90
		spike = 99.5
		usual = 20
	)
	for name, open := range drivers {
		t.Run(name, func(t *testing.T) {
			begin := at("2026-01-01 00:00:00")
			now := begin
			store := open(t, storage.Options{Idle: true, Now: func() time.Time { return now }})
			facts := &gohubv1.HostFacts{Hostname: "web-1", IntervalMillis: 600_000}
			host, _ := storagetest.Register(t, store, storage.Registration{AgentID: uuid.New(), Epoch: 1, Facts: facts, At: begin})
			var spikes []time.Time
			for n := range days {
				var samples []*gohubv1.Sample
				for minute := 0; minute < 24*60; minute += 10 {
					sample := &gohubv1.Sample{
						TimeUnixMillis: begin.Add(time.Duration(n)*day + time.Duration(minute)*time.Minute).UnixMilli(),
						Host:           &gohubv1.HostMetrics{CpuUsagePercent: proto.Float32(usual + float32(minute/10%5))},
					}
					if n%7 == 3 && minute == 770 {
						sample.Host.CpuUsagePercent = proto.Float32(spike)
						spikes = append(spikes, time.UnixMilli(sample.GetTimeUnixMillis()).UTC())
					}
					samples = append(samples, sample)
				}
				now = begin.Add(time.Duration(n+1) * day)
				batch := &storage.Batch{Host: host.ID, Epoch: 1, Prev: uint64(n), Seq: uint64(n) + 1, ReceivedAt: now, Rows: storagetest.Rows(host.ID, now, samples...)}
				_, err := store.Append(t.Context(), []*storage.Batch{batch})
				require.NoError(t, err)
				if n%9 == 8 { // a server does each minute
					require.NoError(t, store.RollUp(t.Context()))
				}
			}

			// Samples are there for seven days, and for as much before as the chunk that the seventh day is in.
			cpu, known := catalogue.MetricByName("cpu_usage_percent")
			require.True(t, known)
			rows := func(r storage.Resolution, from, to time.Time) int {
				series, err := store.Range(t.Context(), storage.RangeQuery{
					Metrics: []*catalogue.Metric{cpu}, From: from, To: to, Step: day, MaxRows: 1000,
					Parts: []storage.Part{{Resolution: r, From: from, To: to}},
				})
				require.NoError(t, err)
				if len(series) == 0 {
					return 0
				}
				return len(series[0].Times)
			}
			require.Zero(t, rows(storage.Raw, begin, now.Add(-9*day)), "samples are gone")
			require.Equal(t, 7, rows(storage.Raw, now.Add(-7*day), now))
			for _, r := range []storage.Resolution{storage.Minute, storage.Hour, storage.Day} {
				require.GreaterOrEqual(t, rows(r, begin, now), days-1, r.String())
			}

			service := NewService(Options{
				Store: store, Fleet: fleet{host.ID: {HostId: uint32(host.ID), Facts: facts}}, Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler),
			})
			response, err := service.QueryRange(t.Context(), &gohubv1.QueryRangeRequest{
				HostId: uint32(host.ID), Metrics: []string{"cpu_usage_percent"}, From: float64(begin.Unix()), To: float64(now.Unix()), MaxPoints: 500,
			})
			require.NoError(t, err)
			require.Equal(t, "1h", response.GetResolution())
			require.Len(t, response.GetSeries(), 1)
			series := response.GetSeries()[0]
			require.Greater(t, len(series.GetTimes()), 300)
			seen := 0
			for i, since := range series.GetTimes() {
				has := false
				for _, one := range spikes {
					has = has || float64(one.Unix()) >= since && float64(one.Unix()) < since+response.GetStep()
				}
				if has {
					seen++
					require.InDelta(t, spike, series.GetMax()[i], 0)
				} else {
					require.InDelta(t, usual+4, series.GetMax()[i], 0)
				}
				require.InDelta(t, usual+2, series.GetAvg()[i], 3, "the average hides a spike")
			}
			require.Equal(t, len(spikes), seen, "every spike is in the graph")
		})
	}
}
