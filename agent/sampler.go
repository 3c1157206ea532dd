package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/shirou/gopsutil/v3/common"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// maxInstances bounds the instances of one family in a sample, so that a machine with thousands of mounts or interfaces
// cannot make a message that the server refuses. The first in the system's order are kept.
const maxInstances = 512

// relogAfter is how often a collector that keeps failing, each time with another message, is logged again.
const relogAfter = 10 * time.Minute

// errUnsupported says that this operating system does not give a family of values; they are absent and nothing is logged
// above debug.
var errUnsupported = errors.New("not available on this operating system")

// collector reads one family of values. It is used by one goroutine and keeps what it needs from tick to tick, as the
// counters that rates are computed from. It sets its fields of the sample once it has read them, so that an error leaves
// them absent; it may set a part and return an error that says what is missing.
type collector interface {
	name() string
	collect(ctx context.Context, sample *gohubv1.Sample) error
}

// machine is where collectors read: the roots of the system's file trees, changed by tests and by agents in containers,
// and the clock.
type machine struct {
	proc, sys, root string
	now             func() time.Time
	guard           *guard
}

func newMachine(o SamplerOptions) *machine {
	now := o.now
	if now == nil {
		now = time.Now
	}
	return &machine{
		proc:  cmp.Or(o.ProcDir, "/proc"),
		sys:   cmp.Or(o.SysDir, "/sys"),
		root:  cmp.Or(o.RootDir, "/"),
		now:   now,
		guard: newGuard(),
	}
}

// SamplerOptions say what a Sampler measures.
type SamplerOptions struct {
	// ProcDir, SysDir and RootDir are where the machine's /proc, /sys and / are found, when the agent runs in a container
	// that has them mounted elsewhere. Empty means the usual places. Linux only.
	ProcDir, SysDir, RootDir string

	// Interfaces, Disks, Mountpoints and FilesystemTypes choose the instances that are reported, by name.
	Interfaces, Disks, Mountpoints, FilesystemTypes Filter

	// TopProcesses is how many processes are reported by CPU, and as many again by memory. 0 reports none.
	TopProcesses int

	// ProcessInterval is how often processes are listed, at most MaxProcessInterval: servers show a list for five minutes. The first
	// sample of each such stretch of time has one, counted from the Unix epoch. Samples between count the processes only, and a process's share of CPU is that of the time from list to list. 0 lists
	// them in each sample.
	ProcessInterval time.Duration

	// TextfileDir is a directory of *.prom files in Prometheus' text format, whose series are reported; empty for none.
	TextfileDir string

	// CustomSeries is how many series of custom metrics are reported at most, up to MaxCustomSeries; 0 is DefaultCustomSeries.
	CustomSeries int

	// Logger takes what goes wrong; nil means slog.Default().
	Logger *slog.Logger

	now func() time.Time
	// pushed has the series that come over the socket, nil without one.
	pushed *pushedSeries
}

// Sampler measures the machine. It is not safe for concurrent use: one goroutine owns it.
type Sampler struct {
	collectors []collector
	context    context.Context // carries the roots to gopsutil
	now        func() time.Time
	log        *slog.Logger
	failing    map[string]failure // by collector
}

type failure struct {
	text   string
	logged time.Time
}

// NewSampler returns a Sampler. Its first sample has no rates: they need two readings.
func NewSampler(o SamplerOptions) *Sampler {
	m := newMachine(o)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Sampler{
		collectors: []collector{
			&cpuCollector{machine: m},
			&loadCollector{machine: m},
			&memoryCollector{machine: m},
			&uptimeCollector{machine: m},
			newFilesystemCollector(m, o.Mountpoints, o.FilesystemTypes),
			newDiskCollector(m, o.Disks),
			newNetworkCollector(m, o.Interfaces),
			newConnectionCollector(m),
			newSensorCollector(m),
			newProcessCollector(m, o.TopProcesses, o.ProcessInterval),
			newCustomCollector(m, o),
		},
		context: withRoots(context.Background(), m),
		now:     m.now,
		log:     o.Logger,
		failing: make(map[string]failure),
	}
}

// Close gives back the files that collectors keep open. The Sampler must not be used after it.
func (s *Sampler) Close() {
	for _, c := range s.collectors {
		if keeper, ok := c.(interface{ close() }); ok {
			keeper.close()
		}
	}
}

func withRoots(ctx context.Context, m *machine) context.Context {
	return context.WithValue(ctx, common.EnvKey, common.EnvMap{
		common.HostProcEnvKey: m.proc,
		common.HostSysEnvKey:  m.sys,
		common.HostEtcEnvKey:  filepath.Join(m.root, "etc"),
		common.HostVarEnvKey:  filepath.Join(m.root, "var"),
		common.HostRunEnvKey:  filepath.Join(m.root, "run"),
		common.HostRootEnvKey: m.root,
	})
}

// Sample reads everything once and dates it with tick. It never fails: what could not be read is absent and logged once.
// It takes milliseconds, and a bounded wait where the machine hangs.
func (s *Sampler) Sample(tick time.Time) *gohubv1.Sample {
	sample := &gohubv1.Sample{TimeUnixMillis: tick.UnixMilli(), Host: &gohubv1.HostMetrics{}}
	for _, c := range s.collectors {
		s.note(c.name(), collectContained(s.context, c, sample))
	}
	omitUnfit(sample.ProtoReflect())
	return sample
}

// collectContained turns a collector's panic, as from a surprise in a vendor's parser, into an error.
func collectContained(ctx context.Context, c collector, sample *gohubv1.Sample) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return c.collect(ctx, sample)
}

// note logs a collector's failure when it begins or ends, and at a low rate when it changes, not each tick.
func (s *Sampler) note(name string, err error) {
	was, failed := s.failing[name]
	switch {
	case err == nil && failed:
		delete(s.failing, name)
		s.log.Info("collector reads again", "collector", name)
	case err == nil:
	case errors.Is(err, errUnsupported):
		if !failed {
			s.failing[name] = failure{text: err.Error(), logged: s.now()}
			s.log.Debug("collector has nothing to read", "collector", name, "reason", err)
		}
	case !failed || err.Error() != was.text && s.now().Sub(was.logged) >= relogAfter:
		s.failing[name] = failure{text: err.Error(), logged: s.now()}
		s.log.Warn("collector failed; its values are missing until it reads again", "collector", name, "error", err)
	}
}

// bounded cuts a family's instances to maxInstances.
func bounded[T any](instances []T) []T {
	return instances[:min(len(instances), maxInstances)]
}

func pointer[T any](v T) *T { return &v }
