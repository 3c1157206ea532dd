package chaos

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/gohub-io/gohub/bench/rig"
)

// server is a place for gohub-server, which comes and goes.
type server struct {
	process    *process
	http, grpc string
	database   *relay // nil with SQLite
	// link leads the other servers to nats, this one's, and entry viewers to grpc; nil where servers do not know of each other.
	link, entry *relay
	nats        string
	traps       traps // at it
	// past counts the duplicates that ended processes were last known to have seen, duplicates those of the present one.
	past, duplicates float64
}

// startServer runs server i and leads agents to it, all of them where it is the only one.
func (w *world) startServer(ctx context.Context, i int) error {
	s := w.servers[i]
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	for {
		if err := w.launchServer(s); err != nil {
			return err
		}
		err := s.ready(ctx)
		if err == nil {
			break
		}
		s.process.kill()
		// It may have met a database that was not there yet.
		if ctx.Err() != nil || !pause(ctx, 100*time.Millisecond) {
			return err
		}
	}
	if len(w.servers) == 1 {
		for _, relay := range w.relays {
			relay.point(s.grpc)
		}
	}
	return nil
}

func (w *world) launchServer(s *server) error {
	var err error
	for _, address := range []*string{&s.http, &s.grpc} {
		if *address, err = rig.FreeAddress(); err != nil {
			return err
		}
	}
	command := exec.Command(w.options.ServerBinary, "--http-listen", s.http, "--grpc-listen", s.grpc,
		"--data-dir", w.store.directory, "--log-level", "warn", "--flush-age", "20ms")
	// Nothing of the caller's own settings may change what is tested.
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.directory}
	if s.database != nil {
		url, err := w.store.url(s.database.address())
		if err != nil {
			return err
		}
		command.Env = append(command.Env, "GOHUB_DATABASE_URL="+url)
	}
	linked, err := w.linked(s)
	if err != nil {
		return err
	}
	command.Env = append(command.Env, linked...)
	s.past, s.duplicates = s.past+s.duplicates, 0
	s.process, err = startProcess("gohub-server", command, nil)
	return err
}

func (s *server) ready(ctx context.Context) error {
	for {
		if _, err := s.get(ctx, "/readyz"); err == nil {
			return nil
		}
		select {
		case <-s.process.ended:
			return fmt.Errorf("the server ended: %w; it said:\n%s", s.process.err, s.process.log)
		case <-ctx.Done():
			return fmt.Errorf("the server is not ready: %w; it said:\n%s", ctx.Err(), s.process.log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// get reads a page of the server. Connections are not kept: the server may be another one by then.
func (s *server) get(ctx context.Context, path string) (string, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.http+path, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s says %s", path, response.Status)
	}
	return string(body), err
}

// duplicatesMetric counts the batches that came although they were stored.
const duplicatesMetric = "gohub_ingest_duplicate_batches_total"

// note remembers the duplicates that a server, which may be about to end, has seen. One that does not answer tells none.
func (s *server) note(ctx context.Context) {
	page, err := s.get(ctx, "/metrics")
	if err != nil {
		return
	}
	for line := range strings.Lines(page) {
		if text, found := strings.CutPrefix(line, duplicatesMetric+" "); found {
			if count, err := strconv.ParseFloat(strings.TrimSpace(text), 64); err == nil {
				s.duplicates = count
			}
		}
	}
}

// killServer kills server i at once.
func (w *world) killServer(i int) {
	w.servers[i].process.kill()
	w.faults++
	w.kills++
}
