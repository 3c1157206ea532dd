package agent

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// setClock is a clock that a test sets.
type setClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *setClock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }

func (c *setClock) pass(d time.Duration) { c.mu.Lock(); c.now = c.now.Add(d); c.mu.Unlock() }

// customRig is a collector on a directory.
type customRig struct {
	*customCollector
	directory string
	log       *logBuffer
	clock     *setClock
}

func newCustomRig(t *testing.T, most int) *customRig {
	log, logger := newTestLog()
	r := &customRig{directory: t.TempDir(), log: log, clock: &setClock{now: time.Now()}}
	o := SamplerOptions{TextfileDir: r.directory, CustomSeries: most, Logger: logger, now: r.clock.Now}
	o.pushed = newPushedSeries(r.clock.Now, pushedAge(10*time.Second), customSeriesOf(o))
	r.customCollector = newCustomCollector(newMachine(o), o)
	return r
}

func (r *customRig) write(t *testing.T, name, text string) {
	t.Helper()
	temporary := filepath.Join(r.directory, "."+name)
	if err := os.WriteFile(temporary, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temporary, filepath.Join(r.directory, name)); err != nil {
		t.Fatal(err)
	}
}

// collected are the values by the series' keys, but for the times of files.
func (r *customRig) collected(t *testing.T) map[string]float64 {
	t.Helper()
	sample := &gohubv1.Sample{}
	if err := r.collect(t.Context(), sample); err != nil {
		t.Fatal(err)
	}
	return valuesOf(t, sample)
}

func valuesOf(t *testing.T, sample *gohubv1.Sample) map[string]float64 {
	values := map[string]float64{}
	for _, series := range sample.GetCustoms() {
		key := series.GetName() + series.GetLabels()
		if _, twice := values[key]; twice {
			t.Errorf("%s is there twice", key)
		}
		if series.GetName() != textfileMtime {
			values[key] = series.GetValue()
		}
	}
	return values
}

func requireValues(t *testing.T, got, want map[string]float64) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Fatalf("got  %v\nwant %v", got, want)
	}
}

func TestTextFilesAreReportedAtEverySample(t *testing.T) {
	r := newCustomRig(t, 0)
	r.write(t, "backup.prom", "# HELP backup_age_seconds Age.\nbackup_age_seconds{job=\"db\"} 12.5\ngone NaN\n")
	r.write(t, "other.txt", "other 1\n")
	want := map[string]float64{
		`backup_age_seconds{job="db"}`: 12.5, `gohub_textfile_error{file="backup.prom"}`: 0, "gohub_custom_series": 1, "gohub_custom_series_refused": 0,
	}
	requireValues(t, r.collected(t), want)
	requireValues(t, r.collected(t), want)
	r.clock.pass(time.Minute) // its time is old enough to be believed
	requireValues(t, r.collected(t), want)
	if !r.files.all[0].settled {
		t.Error("the file is read at every sample")
	}
	r.write(t, "backup.prom", "backup_age_seconds{job=\"db\"} 13.5\n") // of the same size, but for the comment
	want[`backup_age_seconds{job="db"}`] = 13.5
	requireValues(t, r.collected(t), want)

	sample := &gohubv1.Sample{}
	if err := r.collect(t.Context(), sample); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(r.directory, "backup.prom"))
	if err != nil {
		t.Fatal(err)
	}
	found := slices.ContainsFunc(sample.GetCustoms(), func(c *gohubv1.CustomMetrics) bool {
		return c.GetName() == textfileMtime && c.GetLabels() == `{file="backup.prom"}` && c.GetValue() == float64(info.ModTime().UnixMilli())/1e3
	})
	if !found {
		t.Errorf("no time of the file in %v", sample.GetCustoms())
	}

	if err := os.Remove(filepath.Join(r.directory, "backup.prom")); err != nil {
		t.Fatal(err)
	}
	requireValues(t, r.collected(t), map[string]float64{"gohub_custom_series": 0, "gohub_custom_series_refused": 0})
	if r.log.text.String() != "" {
		t.Errorf("logged %s", r.log.text.String())
	}
}

func TestTextFileThatIsWrongIsLeftOutWholeAndLoggedOnce(t *testing.T) {
	r := newCustomRig(t, 0)
	r.write(t, "a.prom", "a 1\n")
	r.write(t, "bad.prom", "b 1\nb{ 2\n")
	r.write(t, "cut.prom", "c 123")
	r.write(t, "twice.prom", "d 1\nd 2\n")
	r.write(t, "z.prom", "z 1\na 2\n")
	if err := os.Mkdir(filepath.Join(r.directory, "dir.prom"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.write(t, "big.prom", "e 1\n#"+strings.Repeat("x", maxTextBytes))
	want := map[string]float64{"a": 1, "gohub_custom_series": 1, "gohub_custom_series_refused": 0}
	for _, name := range []string{"a", "bad", "cut", "twice", "z", "dir", "big"} {
		want[`gohub_textfile_error{file="`+name+`.prom"}`] = 1
	}
	want[`gohub_textfile_error{file="a.prom"}`] = 0
	for range 3 {
		requireValues(t, r.collected(t), want)
		r.clock.pass(time.Minute)
	}
	for file, reason := range map[string]string{
		"bad": "line 2: its labels are not closed", "cut": "line 1 has no line break", "twice": "line 2: the series d is there twice",
		"z": "the series a is in a.prom too", "dir": "no regular file", "big": "over 1048576 bytes",
	} {
		if strings.Count(r.log.text.String(), "file="+file+".prom") != 1 || !strings.Contains(r.log.text.String(), reason) {
			t.Errorf("%s: no line, or not one, with %q in:\n%s", file, reason, r.log.text.String())
		}
	}
	r.write(t, "bad.prom", "b 3\n")
	want["b"], want[`gohub_textfile_error{file="bad.prom"}`], want["gohub_custom_series"] = 3, 0, 2
	requireValues(t, r.collected(t), want)
	if !strings.Contains(r.log.text.String(), "text file is read again") {
		t.Error("it is not said that the file is right again")
	}
}

func TestPipeInTheDirectoryDoesNotHangTheAgent(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no pipes in directories")
	}
	r := newCustomRig(t, 0)
	listener, err := net.Listen("unix", filepath.Join(r.directory, "s.prom")) // a socket stands for all that is no file
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if got := r.collected(t)[`gohub_textfile_error{file="s.prom"}`]; got != 1 {
		t.Errorf("got %v", got)
	}
}

func TestSeriesOverTheLimitAreCountedAndTheFirstOnesKept(t *testing.T) {
	r := newCustomRig(t, 3)
	r.write(t, "a.prom", "a1 1\na2 1\n")
	r.write(t, "b.prom", "b1 1\nb2 1\n")
	if err := r.pushed.push([]byte("p 1\na1 5\n")); err != nil {
		t.Fatal(err)
	}
	files := map[string]float64{`gohub_textfile_error{file="a.prom"}`: 0, `gohub_textfile_error{file="b.prom"}`: 0}
	check := func(taken, refused float64, names ...string) {
		t.Helper()
		want := maps.Clone(files)
		for _, name := range names {
			want[name] = 1
		}
		want["gohub_custom_series"], want["gohub_custom_series_refused"] = taken, refused
		for range 2 {
			requireValues(t, r.collected(t), want)
			r.clock.pass(10 * time.Second)
		}
	}
	check(3, 3, "a1", "a2", "b1")
	r.write(t, "a.prom", "a1 1\n")
	check(3, 2, "a1", "b1", "b2")
	r.clock.pass(time.Minute)
	check(3, 0, "a1", "b1", "b2") // what was sent is too old
	r.write(t, "a.prom", "a1 1\na3 1\na4 1\na5 1\n")
	check(3, 3, "a1", "a3", "a4")
}

func TestSentSeriesLiveUntilTheyAreSentAgainTakenBackOrOld(t *testing.T) {
	clock := &setClock{now: time.Now()}
	p := newPushedSeries(clock.Now, time.Minute, 3)
	push := func(text, want string) {
		t.Helper()
		if err := p.push([]byte(text)); err == nil && want != "" || err != nil && (want == "" || !strings.Contains(err.Error(), want)) {
			t.Fatalf("%q: %v", text, err)
		}
	}
	check := func(want ...string) {
		t.Helper()
		var got []string
		for _, series := range p.fresh() {
			got = append(got, fmt.Sprint(series.key, "=", series.value))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got %v", got)
		}
	}
	push("b 1\na{x=\"2\"} 2\na{x=\"1\"} 3\n", "")
	check(`a{x="1"}=3`, `a{x="2"}=2`, "b=1")
	push("c 1\n", "there would be 4 series")
	push("b 2\nc{\n", "line 2")
	push("b 2\nb 3\n", "twice")
	push("x 1\ny 1\nz 1\nw 1\n", "over 3 series")
	check(`a{x="1"}=3`, `a{x="2"}=2`, "b=1")
	push("b NaN\nc 1\nnever NaN\n", "")
	check(`a{x="1"}=3`, `a{x="2"}=2`, "c=1")
	clock.pass(50 * time.Second)
	push("c 2\n", "")
	clock.pass(11 * time.Second)
	check("c=2")
	push("d 1\ne 1\n", "")
	clock.pass(-10 * time.Minute)
	check()
	if p.bytes != 0 {
		t.Errorf("%d bytes of nothing", p.bytes)
	}
}

// send is what a program does.
func send(t *testing.T, path, text string) string {
	t.Helper()
	connection, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := io.WriteString(connection, text); err != nil {
		t.Fatal(err)
	}
	if err := connection.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(connection)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func TestSocketTakesTextAndAnswers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "custom.sock")
	p := newPushedSeries(time.Now, time.Minute, 10)
	s, err := listenCustom(path, p, time.Minute, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", info, err)
	}
	for text, want := range map[string]string{
		"a 1\nb{x=\"1\"} 2\n": "ok\n",
		"":                    "ok\n",
		"a 1\nb":              "error: line 2 has no line break at its end: is the text complete?\n",
		"a x\n":               "error: line 1: the value \"x\" is no number\n",
	} {
		if got := send(t, path, text); got != want {
			t.Errorf("%q: got %q", text, got)
		}
	}
	if series := p.fresh(); len(series) != 2 {
		t.Errorf("got %v", series)
	}
	var many sync.WaitGroup
	for i := range 40 {
		many.Go(func() {
			if got := send(t, path, fmt.Sprintf("many{i=\"%d\"} 1\n", i%5)); got != "ok\n" {
				t.Errorf("got %q", got)
			}
		})
	}
	many.Wait()
	if _, err := listenCustom(path, p, time.Minute, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "another program serves it") {
		t.Errorf("got %v", err)
	}

	// One that says nothing does not hold the end up.
	silent, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	s.close()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestSocketGivesUpOnWhoDoesNotEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "custom.sock")
	s, err := listenCustom(path, newPushedSeries(time.Now, time.Minute, 10), 50*time.Millisecond, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	connection, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := io.WriteString(connection, "a 1\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(connection)
	if err != nil || !strings.Contains(string(answer), "close your side for writing") {
		t.Errorf("got %q, %v", answer, err)
	}
}

func TestSocketReplacesWhatADeadProgramLeftAndNothingElse(t *testing.T) {
	directory := t.TempDir()
	path := filepath.Join(directory, "custom.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := listenCustom(path, newPushedSeries(time.Now, time.Minute, 10), time.Minute, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.close()
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenCustom(path, nil, time.Minute, nil); err == nil || !strings.Contains(err.Error(), "something else than a socket") {
		t.Errorf("got %v", err)
	}
	if _, err := listenCustom(filepath.Join(directory, "none", "custom.sock"), nil, time.Minute, nil); err == nil || !strings.Contains(err.Error(), "the directory must be there") {
		t.Errorf("got %v", err)
	}
}
