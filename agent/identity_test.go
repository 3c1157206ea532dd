package agent

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestIdentityIsMadeOnceAndKept(t *testing.T) {
	_, log := newTestLog()
	directory := filepath.Join(t.TempDir(), "a", "b")
	first, err := LoadIdentity(directory, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadIdentity(directory, nil, log)
	if err != nil || again != first || len(first) != 36 {
		t.Errorf("first %q, then %q (%v)", first, again, err)
	}
	info, err := os.Stat(filepath.Join(directory, identityFile))
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if entries, err := os.ReadDir(directory); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v (%v)", entries, err)
	}
}

func TestIdentityProblemsNameTheFile(t *testing.T) {
	_, log := newTestLog()
	directory := t.TempDir()
	if err := os.WriteFile(filepath.Join(directory, identityFile), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadIdentity(directory, nil, log); !errors.Is(err, ErrStateDir) {
		t.Errorf("a broken file: %v", err)
	}
	if _, err := LoadIdentity(filepath.Join(directory, identityFile, "below-a-file"), nil, log); !errors.Is(err, ErrStateDir) {
		t.Errorf("a directory that cannot be made: %v", err)
	}
}

const (
	someHardware = "4C4C4544-0043-3010-8052-B4C04F564231"
	someSystem   = "0123456789abcdef0123456789abcdef\n"
	someBoot     = "6d5a8a0e-4b0c-4f53-9d4e-0a5f7c3b2a19\n"
)

func TestFingerprintComparesIdsOfOneKind(t *testing.T) {
	asSystem := "01234567-89ab-cdef-0123-456789abcdef" // how a host id tells the system's
	root := fingerprintOf(strings.ToLower(someHardware), someSystem, someBoot)
	user := fingerprintOf(asSystem, someSystem, someBoot)
	none := fingerprintOf(strings.TrimSpace(someBoot), "", someBoot)
	image := fingerprintOf(strings.TrimSpace(someBoot), "uninitialized\n", someBoot)
	if len(root) != 2 || len(user) != 1 || len(none) != 0 || len(image) != 0 {
		t.Fatalf("%v, %v, %v, %v", root, user, none, image)
	}
	otherHardware := fingerprintOf("other", someSystem, someBoot)
	otherSystem := fingerprintOf(asSystem, strings.Repeat("a", 32), someBoot)
	for _, one := range []struct {
		what    string
		a, b    Fingerprint
		differs bool
	}{
		{"the same", root, root, false},
		{"without root", root, user, false},
		{"unknown now", root, none, false},
		{"unknown before", nil, root, false},
		{"other hardware, one image", root, otherHardware, true},
		{"other system", user, otherSystem, true},
	} {
		if one.a.differs(one.b) != one.differs || one.b.differs(one.a) != one.differs {
			t.Errorf("%s: not %t", one.what, one.differs)
		}
		if again := parseFingerprint(one.a.String()); again.String() != one.a.String() {
			t.Errorf("%s: %q is read as %q", one.what, one.a, again)
		}
	}
	if text := root.String(); strings.Contains(text, "0123456789abcdef0123") || strings.Contains(strings.ToLower(text), "4c4c4544") {
		t.Errorf("an id can be read in %q", text)
	}
	if here := ReadFingerprint(t.Context(), SamplerOptions{}); here.differs(ReadFingerprint(t.Context(), SamplerOptions{})) {
		t.Error("this machine is not itself")
	}
}

func TestCopiedStateDirectoryGetsAnIdentityOfItsOwn(t *testing.T) {
	text, log := newTestLog()
	directory := t.TempDir()
	load := func(f Fingerprint) string {
		t.Helper()
		id, err := LoadIdentity(directory, f, log)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	user, root := Fingerprint{fingerprintSystem: "a"}, Fingerprint{fingerprintSystem: "a", fingerprintHardware: "b"}
	original := load(nil) // as an older agent left it
	for _, f := range []Fingerprint{user, root, nil, user} {
		if id := load(f); id != original {
			t.Fatalf("another id for %v", f)
		}
	}
	image := save(t, directory)
	clone := Fingerprint{fingerprintSystem: "a", fingerprintHardware: "c"}
	id := load(clone)
	if id == original || id != load(clone) || text.count("comes from another machine") != 1 {
		t.Errorf("the copy has id %s, the original %s", id, original)
	}
	// Killed before the fingerprint was written: yet another id, never the original's.
	now := save(t, directory)
	now[fingerprintFile] = image[fingerprintFile]
	now.restore(t, directory)
	if third := load(clone); third == original || third == id || third != load(clone) {
		t.Errorf("ids %s, %s, %s", original, id, third)
	}
}

// TestSpoolOfAnotherAgentIsDropped saves the directory after each step, as if killed there.
func TestSpoolOfAnotherAgentIsDropped(t *testing.T) {
	server := serveCursor(t)
	o := diskOptions(t.TempDir())
	s := openDisk(t, o)
	epoch := s.st.Epoch
	appendRange(t, s, 0, 9)
	s.crash()
	image := save(t, o.Directory)

	log, logger := newTestLog()
	steps := []saved{image}
	o.AgentID, o.Logger = "another", logger
	o.step = func() { steps = append(steps, save(t, o.Directory)) }
	s = openDisk(t, o)
	s.keep()
	s.crash()
	o.step = nil
	if log.count("taken under another agent id") != 1 || len(steps) < 3 {
		t.Errorf("not logged, or only %d steps", len(steps))
	}
	for i, files := range append(steps, save(t, o.Directory)) {
		files.restore(t, o.Directory)
		s = openDisk(t, o)
		appendRange(t, s, 20, 22)
		server.model = modelServer{}
		server.drainTo(s)
		if got := server.model.stored; !slices.Equal(got.numbers, numbers(20, 22)) || len(got.gaps) > 0 || server.model.epoch == epoch {
			t.Errorf("step %d: stored %v of epoch %d, gaps %v", i, got.numbers, server.model.epoch, got.gaps)
		}
		s.crash()
	}
	// The original goes on as ever.
	o.AgentID = testAgentID
	image.restore(t, o.Directory)
	if d := drainAll(t, openDisk(t, o)); !slices.Equal(d.numbers, numbers(0, 9)) {
		t.Errorf("the original delivered %v", d.numbers)
	}
}
