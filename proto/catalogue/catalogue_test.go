package catalogue_test

import (
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

func TestNamesSayTheirUnit(t *testing.T) {
	suffixes := map[gohubv1.Unit]string{
		gohubv1.Unit_UNIT_PERCENT: "_percent", gohubv1.Unit_UNIT_SECONDS: "_seconds", gohubv1.Unit_UNIT_CELSIUS: "_celsius",
		gohubv1.Unit_UNIT_BYTES: "_bytes", gohubv1.Unit_UNIT_BYTES_PER_SECOND: "_bytes_per_second", gohubv1.Unit_UNIT_PER_SECOND: "_per_second",
	}
	for _, family := range catalogue.Families() {
		for _, metric := range family.Metrics {
			name := metric.Name
			if metric.Kind == gohubv1.Kind_KIND_COUNTER {
				require.True(t, strings.HasSuffix(name, "_total"), "the counter %s must end in _total", name)
				name = strings.TrimSuffix(name, "_total")
			}
			require.True(t, strings.HasSuffix(name, suffixes[metric.Unit]), "%s must say its unit: %s", metric.Name, suffixes[metric.Unit])
			require.Regexp(t, `^[A-Z0-9].*\.$`, metric.Help, "the help of %s must be a sentence", metric.Name)
			found, ok := catalogue.MetricByName(metric.Name)
			require.True(t, ok)
			require.Same(t, metric, found)
		}
	}
}

// TestEveryMetricHasItsColumn reads the migrations, so that a metric without one fails here by its name.
func TestEveryMetricHasItsColumn(t *testing.T) {
	types := map[string]map[catalogue.Type]string{
		"timescaledb": {catalogue.Float: "real", catalogue.Uint32: "integer", catalogue.Uint64: "bigint", catalogue.Double: "double precision"},
		"sqlite":      {catalogue.Float: "REAL", catalogue.Uint32: "INTEGER", catalogue.Uint64: "INTEGER", catalogue.Double: "REAL"},
	}
	for database, columnType := range types {
		files, err := os.ReadDir("../../migrations/" + database)
		require.NoError(t, err)
		var schema strings.Builder
		for _, file := range files {
			if strings.HasSuffix(file.Name(), ".up.sql") {
				content, err := os.ReadFile("../../migrations/" + database + "/" + file.Name())
				require.NoError(t, err)
				schema.Write(content)
			}
		}
		for _, family := range catalogue.Families() {
			table := regexp.MustCompile(`(?s)CREATE TABLE ` + family.Table + ` \((.*?)\n\)`).FindStringSubmatch(schema.String())
			require.NotNil(t, table, "%s has no table %s", database, family.Table)
			for _, metric := range family.Metrics {
				require.Regexp(t, `(?m)^\s+`+metric.Column+`\s+`+columnType[metric.Type]+`,?$`, table[1], "%s: %s.%s", database, family.Table, metric.Column)
			}
		}
	}
}

func TestRowsReadPresenceAndValue(t *testing.T) {
	sample, err := catalogue.FromProto(&gohubv1.Sample{Disks: []*gohubv1.DiskMetrics{
		{Device: "sda", ReadBytesTotal: proto.Uint64(1 << 60), BusyPercent: proto.Float32(0)}, {Device: "sdb"},
	}})
	require.NoError(t, err)
	family, ok := catalogue.FamilyByName("disk")
	require.True(t, ok)
	require.Equal(t, 2, family.Count(sample))
	busy, _ := catalogue.MetricByName("disk_busy_percent")
	total, _ := catalogue.MetricByName("disk_read_bytes_total")
	var devices []string
	family.Rows(sample, func(row catalogue.Row) bool {
		devices = append(devices, row.Label(0))
		value, present := row.Float(busy)
		require.Zero(t, value)
		require.Equal(t, row.Label(0) == "sda", present, "0 is a reading, nothing is not")
		bytes, _ := row.Uint(total)
		require.Equal(t, row.Label(0) == "sda", bytes == 1<<60)
		return true
	})
	require.Equal(t, []string{"sda", "sdb"}, devices)
	require.Zero(t, catalogue.Host().Count(sample))
}

func TestNearest(t *testing.T) {
	require.Equal(t, "cpu_usage_percent", catalogue.Nearest("cpu_usage")[0])
	require.Equal(t, "memory_used_percent", catalogue.Nearest("mem_used_percent")[0])
	require.Empty(t, catalogue.Nearest(strings.Repeat("\xff", 1<<20)))
	require.LessOrEqual(t, len(catalogue.Nearest("")), 3)
}

func TestRoundGivesBackWhatTheAgentSaid(t *testing.T) {
	for _, value := range []float32{0, 12.3, -40.25, 99.99999, 0.001234567, 1.234567e10, 3.4e38, 1e-38} {
		rounded := catalogue.Round(float64(value))
		require.InEpsilon(t, 1+float64(value), 1+rounded, 1e-6)
		require.Equal(t, value, float32(rounded), "no digit that a real holds is lost")
	}
	require.InDelta(t, 12.3, catalogue.Round(float64(float32(12.3))), 0)
	require.True(t, math.IsNaN(catalogue.Round(math.NaN())))
}

// TestContractCannotCommandAgents walks everything that the server can say to an agent.
func TestContractCannotCommandAgents(t *testing.T) {
	service := gohubv1.File_gohub_v1_ingest_proto.Services().ByName("IngestService")
	require.Equal(t, 2, service.Methods().Len(), "a new method needs a thought about what it lets the server do")
	var fields []string
	seen := map[protoreflect.FullName]bool{}
	var walk func(protoreflect.MessageDescriptor)
	walk = func(message protoreflect.MessageDescriptor) {
		if seen[message.FullName()] {
			return
		}
		seen[message.FullName()] = true
		for i := range message.Fields().Len() {
			field := message.Fields().Get(i)
			if field.Message() != nil {
				walk(field.Message())
				continue
			}
			fields = append(fields, string(field.FullName()))
		}
	}
	for i := range service.Methods().Len() {
		walk(service.Methods().Get(i).Output())
	}
	require.ElementsMatch(t, []string{
		"gohub.v1.Welcome.host_id", "gohub.v1.Welcome.committed_seq", "gohub.v1.Welcome.committed_checksum", "gohub.v1.Welcome.server_version",
		"gohub.v1.Ack.epoch", "gohub.v1.Ack.seq", "gohub.v1.Goodbye.code", "gohub.v1.Goodbye.message",
	}, fields, "agents only send: the server tells them what is stored, and when a stream is over")
}

// TestRoundFindsTheSevenDigits holds it against the text that has them, for numbers of every size.
func TestRoundFindsTheSevenDigits(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		value := float64(math.Float32frombits(random.Uint32()))
		if size := math.Abs(value); math.IsNaN(value) || size < 1e-15 || size >= 1e28 {
			continue
		}
		want, err := strconv.ParseFloat(strconv.FormatFloat(value, 'e', 6, 64), 64)
		require.NoError(t, err)
		got := catalogue.Round(value)
		tie := math.Abs(math.Abs(got-value)-math.Abs(want-value)) <= 1e-9*math.Abs(value) && math.Abs(got-value) < 1e-6*math.Abs(value)
		if got != want && !tie {
			require.InEpsilon(t, want, got, 1e-15, "%v", value)
		}
	}
	for exponent := -15; exponent < 28; exponent++ {
		for _, value := range []float64{math.Pow10(exponent), math.Nextafter(math.Pow10(exponent), 0), math.Nextafter(math.Pow10(exponent), math.Inf(1))} {
			require.InEpsilon(t, math.Pow10(exponent), catalogue.Round(value), 1e-15)
		}
	}
}

func BenchmarkRound(b *testing.B) {
	value := float64(float32(12.3))
	for b.Loop() {
		catalogue.Round(value)
	}
}
