package ingest

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/proto/label"
	"github.com/gohub-io/gohub/storage"
)

// Bounds on what one agent may say. They are far above what a machine has, and keep one agent from filling the server.
const (
	maxSamplesPerBatch = 1000
	maxRowsPerBatch    = 100_000
	maxGapsPerBatch    = 100
	maxGapBytes        = 1024
	maxFactBytes       = 1024
	shortestInterval   = time.Second
	longestInterval    = time.Hour
)

// checkHello turns a Hello into a registration.
func checkHello(hello *gohubv1.Hello, now time.Time) (storage.Registration, error) {
	r := storage.Registration{Epoch: hello.GetEpoch(), Facts: hello.GetFacts(), At: now.UTC().Truncate(time.Millisecond)}
	var err error
	if r.AgentID, err = uuid.Parse(hello.GetAgentId()); err != nil || r.AgentID == uuid.Nil {
		return r, fmt.Errorf("agent_id %q is not a UUID", clip(hello.GetAgentId()))
	}
	if r.Epoch == 0 || r.Epoch > math.MaxInt64 {
		return r, fmt.Errorf("epoch %d is not between 1 and 2^63-1", r.Epoch)
	}
	facts := r.Facts
	if facts.GetHostname() == "" {
		return r, fmt.Errorf("facts have no hostname")
	}
	for name, text := range map[string]string{
		"hostname": facts.GetHostname(), "os": facts.GetOs(), "platform": facts.GetPlatform(), "platform_version": facts.GetPlatformVersion(),
		"kernel_version": facts.GetKernelVersion(), "arch": facts.GetArch(), "cpu_model": facts.GetCpuModel(), "agent_version": facts.GetAgentVersion(),
	} {
		if err := checkText(text, maxFactBytes); err != nil {
			return r, fmt.Errorf("facts.%s %w", name, err)
		}
	}
	if err := label.CheckForm(facts.GetLabels()); err != nil {
		return r, fmt.Errorf("facts.labels: %w", err)
	}
	interval := time.Duration(facts.GetIntervalMillis()) * time.Millisecond
	if interval < shortestInterval || interval > longestInterval {
		return r, fmt.Errorf("facts.interval_millis %d is not between %d and %d", facts.GetIntervalMillis(), shortestInterval.Milliseconds(), longestInterval.Milliseconds())
	}
	return r, nil
}

// endOfTime is the year 10000: past it PostgreSQL and RFC 3339 know no dates.
const endOfTime = 253402300800_000

// checkGap reports whether a gap can be stored and says anything: an empty message would be one at the beginning of time. A bad
// one must not cost the samples beside it.
func checkGap(gap *gohubv1.Gap) bool {
	return gap.GetFromUnixMillis() >= 0 && gap.GetToUnixMillis() > 0 && gap.GetFromUnixMillis() <= gap.GetToUnixMillis() && gap.GetToUnixMillis() < endOfTime &&
		gap.GetSamples() <= math.MaxInt32 && gap.GetReason() >= 0
}

// acceptance is when samples that come now may have been taken, in Unix milliseconds.
type acceptance struct {
	now, earliest, latest int64
	options               *Options
}

func (s *Server) acceptance(now time.Time) acceptance {
	return acceptance{now.UnixMilli(), now.Add(-s.options.MaxAge).UnixMilli(), now.Add(s.options.MaxFuture).UnixMilli(), &s.options}
}

// clock tells the server's time, the same for all samples of a batch: those that it refuses share one text of the reason.
func (a *acceptance) clock() string { return time.UnixMilli(a.now).UTC().Format(time.RFC3339) }

// check returns why a sample must not be stored, or an empty reason.
func (a *acceptance) check(sample *catalogue.Sample) string {
	switch taken := sample.TimeUnixMillis; {
	case taken > a.latest:
		return fmt.Sprintf("the sample's time is more than %s ahead of the server's, which is %s; check the machine's clock", a.options.MaxFuture, a.clock())
	case taken < a.earliest:
		return fmt.Sprintf("the sample's time is more than %s before the server's, which is %s", a.options.MaxAge, a.clock())
	case catalogue.Host().Count(sample) == 0:
		return "the sample has no host metrics"
	case sample.Rows() > catalogue.MaxRows:
		return fmt.Sprintf("the sample has %d instances of all families together, the limit is %d", sample.Rows(), catalogue.MaxRows)
	}
	return sample.Unfit()
}

// checkText refuses what PostgreSQL can not store or no machine has. That the text is UTF-8 was checked when the
// message was decoded.
func checkText(text string, limit int) error {
	switch {
	case len(text) > limit:
		return fmt.Errorf("is %d bytes long, the limit is %d", len(text), limit)
	case strings.IndexByte(text, 0) >= 0:
		return fmt.Errorf("contains a NUL byte: %q", clip(text))
	default:
		return nil
	}
}

// clip shortens a text from outside for an error message.
func clip(text string) string {
	if len(text) > 64 {
		return text[:64] + "…"
	}
	return text
}
