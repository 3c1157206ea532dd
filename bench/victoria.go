package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gohub-io/gohub/bench/fleet"
	"github.com/gohub-io/gohub/bench/rig"
)

// findVictoria returns VictoriaMetrics' binary, empty if there is none. Debian's package calls it victoria-metrics.
func findVictoria() string {
	for _, name := range []string{"victoria-metrics", "victoria-metrics-prod"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// victoriaLines is how many lines go into a request; VictoriaMetrics takes up to 32 MB.
const victoriaLines = 5000

// victoriaConnections write at once: the machine that the figures are for has two cores.
const victoriaConnections = 2

// measureVictoria stores the workload's values in VictoriaMetrics.
func (o *Options) measureVictoria(ctx context.Context, w workload, label, binary string) (one run, err error) {
	directory, err := os.MkdirTemp("", "gohub-bench-")
	if err != nil {
		return one, fmt.Errorf("make a directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(directory)) }()
	address, err := rig.FreeAddress()
	if err != nil {
		return one, err
	}
	command := exec.Command(binary, "-storageDataPath="+directory, "-httpListenAddr="+address, "-retentionPeriod=1", "-loggerLevel=ERROR")
	log := &rig.Tail{}
	command.Stdout, command.Stderr, command.SysProcAttr = log, log, ownGroup()
	if err := command.Start(); err != nil {
		return one, fmt.Errorf("start VictoriaMetrics: %w", err)
	}
	defer func() {
		_ = command.Process.Kill() // it may have ended already
		_ = command.Wait()
	}()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: victoriaConnections}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	base := "http://" + address
	for begin := time.Now(); ; {
		if _, err := get(ctx, client, base+"/health"); err == nil {
			break
		}
		if !sleep(ctx, 20*time.Millisecond) || time.Since(begin) > 30*time.Second {
			return one, fmt.Errorf("VictoriaMetrics does not answer; it said:\n%s", log)
		}
	}
	bodies := victoriaBodies(o, w)
	var done atomic.Int64
	m := o.newMeter(ctx, nil, command.Process.Pid, w, label, done.Load)
	m.start()
	group, posting := errgroup.WithContext(ctx)
	for i := range bodies {
		group.Go(func() error {
			for _, body := range bodies[i] {
				if err := post(posting, client, base+"/write", body.text); err != nil {
					return err
				}
				done.Add(int64(body.lines))
			}
			return nil
		})
	}
	err = group.Wait()
	one, meterErr := m.stop()
	if err = errors.Join(err, meterErr); err != nil {
		return one, fmt.Errorf("%w; VictoriaMetrics said:\n%s", err, log)
	}
	text, err := get(ctx, client, base+"/metrics")
	if err != nil {
		return one, err
	}
	want := w.rows() * int64(w.shape.Columns())
	if have := counterOf(text, `vm_rows_inserted_total{type="influx"}`); have != want {
		return one, fmt.Errorf("VictoriaMetrics counts %d values instead of %d", have, want)
	}
	return one, nil
}

type victoriaBody struct {
	text  []byte
	lines int
}

func victoriaBodies(o *Options, w workload) [victoriaConnections][]victoriaBody {
	var bodies [victoriaConnections][]victoriaBody
	for c := range bodies {
		var hosts []*fleet.Host
		for i := c; i < w.hosts; i += victoriaConnections {
			hosts = append(hosts, fleet.NewHost(w.shape, w.seed, i, uint32(w.interval.Milliseconds())))
		}
		var body victoriaBody
		for first := 0; first < w.ticks; first += w.samples {
			for _, host := range hosts {
				for tick := first; tick < min(first+w.samples, w.ticks); tick++ {
					body.text = host.AppendLine(body.text, w.begin.Add(time.Duration(tick)*w.interval).UnixMilli())
					body.lines++
				}
				if body.lines >= victoriaLines {
					bodies[c] = append(bodies[c], body)
					body = victoriaBody{}
				}
			}
		}
		if body.lines > 0 {
			bodies[c] = append(bodies[c], body)
		}
	}
	return bodies
}

func post(ctx context.Context, client *http.Client, url string, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	_, err = answerOf(client, request)
	return err
}

func get(ctx context.Context, client *http.Client, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	return answerOf(client, request)
}

func answerOf(client *http.Client, request *http.Request) (string, error) {
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 8<<20))
	if err != nil {
		return "", fmt.Errorf("read an answer: %w", err)
	}
	if response.StatusCode >= 300 {
		return "", fmt.Errorf("%s answers %s: %.200s", request.URL.Path, response.Status, text)
	}
	return string(text), nil
}

// counterOf finds a counter in Prometheus' text format, -1 if it is not there.
func counterOf(text, name string) int64 {
	for scanner := bufio.NewScanner(strings.NewReader(text)); scanner.Scan(); {
		if value, found := strings.CutPrefix(scanner.Text(), name+" "); found {
			number, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return -1
			}
			return int64(number)
		}
	}
	return -1
}
