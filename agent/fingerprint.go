package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/shirou/gopsutil/v3/host"
)

// Kinds of ids that a Fingerprint may have, the most telling first: machines that are made from one image often share the
// id that their system was installed with, not that of their hardware.
const (
	fingerprintHardware = "hardware"
	fingerprintSystem   = "system"
)

// Fingerprint tells whether a state directory still is on the machine that it was made on. It holds digests of ids, by
// their kind: the ids themselves are nobody else's business. Which can be read depends on the user (the hardware's wants
// root on Linux), so only ids of one kind are ever compared, and an empty fingerprint is like any other.
type Fingerprint map[string]string

// ReadFingerprint reads that of this machine.
func ReadFingerprint(ctx context.Context, o SamplerOptions) Fingerprint {
	m := newMachine(o)
	f, err := within(m.guard, "the machine's id", factsTimeout, func() (Fingerprint, error) {
		ctx, cancel := context.WithTimeout(withRoots(ctx, m), factsTimeout)
		defer cancel()
		id, err := host.HostIDWithContext(ctx)
		if err != nil {
			return nil, err
		}
		if runtime.GOOS != "linux" {
			return fingerprintOf(id, "", ""), nil
		}
		system, _ := os.ReadFile(filepath.Join(m.root, "etc", "machine-id")) // empty is as good as absent
		boot, _ := os.ReadFile(filepath.Join(m.proc, "sys", "kernel", "random", "boot_id"))
		return fingerprintOf(id, string(system), string(boot)), nil
	})
	if err != nil {
		return nil // unknown, so nothing is compared
	}
	return f
}

// fingerprintOf sorts out what a host id is: where there is nothing better, it is another one after each boot.
func fingerprintOf(id, system, boot string) Fingerprint {
	plain := func(id string) string {
		return strings.ToLower(strings.ReplaceAll(strings.TrimSpace(id), "-", ""))
	}
	f := Fingerprint{}
	put := func(kind, id string) {
		if id != "" {
			sum := sha256.Sum256([]byte("gohub-agent " + kind + " " + id))
			f[kind] = hex.EncodeToString(sum[:16])
		}
	}
	if system = plain(system); len(system) != 32 { // "uninitialized", in images
		system = ""
	}
	put(fingerprintSystem, system)
	if id = plain(id); id != system && id != plain(boot) {
		put(fingerprintHardware, id)
	}
	return f
}

// differs says that it is of another machine.
func (f Fingerprint) differs(o Fingerprint) bool {
	for _, kind := range []string{fingerprintHardware, fingerprintSystem} {
		if f[kind] != "" && o[kind] != "" {
			return f[kind] != o[kind]
		}
	}
	return false
}

// with adds the ids that o has and f has not.
func (f Fingerprint) with(o Fingerprint) Fingerprint {
	both := Fingerprint{}
	for _, one := range []Fingerprint{o, f} {
		for kind, id := range one {
			both[kind] = id
		}
	}
	return both
}

// String is a line an id: its kind, and its digest.
func (f Fingerprint) String() string {
	var lines []string
	for kind, id := range f {
		lines = append(lines, kind+" "+id+"\n")
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// parseFingerprint reads what String wrote. What makes no sense is left out.
func parseFingerprint(text string) Fingerprint {
	f := Fingerprint{}
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) == 2 {
			f[words[0]] = words[1]
		}
	}
	return f
}
