package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// scraper asks a running server what it tells of itself.
type scraper struct {
	address string
	client  *http.Client
}

func newScraper(address string) *scraper {
	// Compression would cost the server more than it saves on one machine, and so would reads of 4 KiB the client.
	return &scraper{address: address, client: &http.Client{Transport: &http.Transport{DisableCompression: true, ReadBufferSize: 64 << 10}, Timeout: 10 * time.Second}}
}

func (s *scraper) close() { s.client.CloseIdleConnections() }

func (s *scraper) get(ctx context.Context, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(response.Body, 200)) // only to show
		return nil, fmt.Errorf("%s answers %s: %s", path, response.Status, text)
	}
	return response, nil
}

// metrics adds up the series of each of the named metrics. With thousands of hosts /metrics is many megabytes, so it is
// read as it comes.
func (s *scraper) metrics(ctx context.Context, names ...string) (map[string]float64, error) {
	response, err := s.get(ctx, "/metrics")
	if err != nil {
		return nil, fmt.Errorf("read the server's metrics: %w", err)
	}
	defer response.Body.Close()
	return sumSeries(response.Body, names...)
}

// sumSeries reads Prometheus' text format. A name without a series is an error.
func sumSeries(text io.Reader, names ...string) (map[string]float64, error) {
	sums := map[string]float64{}
	scanner := bufio.NewScanner(text)
	for scanner.Scan() {
		line := scanner.Text()
		end := strings.IndexAny(line, "{ ")
		if end < 0 || line[0] == '#' {
			continue
		}
		for _, name := range names {
			if line[:end] != name {
				continue
			}
			value, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
			if err != nil {
				return nil, fmt.Errorf("read the server's metrics: %w in %q", err, line)
			}
			sums[name] += value
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("read the server's metrics: %w", err)
	}
	for _, name := range names {
		if _, found := sums[name]; !found {
			return nil, fmt.Errorf("the server's metrics have no %s", name)
		}
	}
	return sums, nil
}

// ages asks for the hosts as the dashboard does, and returns how old the newest sample of each is, in seconds. A host that
// has none yet is left out.
func (s *scraper) ages(ctx context.Context) ([]float64, error) {
	response, err := s.get(ctx, "/api/v1/hosts")
	if err != nil {
		return nil, fmt.Errorf("ask for the hosts: %w", err)
	}
	defer response.Body.Close()
	now := time.Now() // the answer has begun: what comes later is not in it
	var list struct {
		Hosts []struct {
			Latest *struct {
				Time time.Time `json:"time"`
			} `json:"latest"`
		} `json:"hosts"`
	}
	if err := json.NewDecoder(response.Body).Decode(&list); err != nil {
		return nil, fmt.Errorf("decode the hosts: %w", err)
	}
	var ages []float64
	for _, host := range list.Hosts {
		if host.Latest != nil {
			ages = append(ages, now.Sub(host.Latest.Time).Seconds())
		}
	}
	return ages, nil
}

// buckets are the cumulative counts of a Prometheus histogram by their upper bounds.
type buckets map[float64]float64

// buckets reads a histogram of the server, which may have none of the name.
func (s *scraper) buckets(ctx context.Context, name string) (buckets, error) {
	response, err := s.get(ctx, "/metrics")
	if err != nil {
		return nil, fmt.Errorf("read the server's metrics: %w", err)
	}
	defer response.Body.Close()
	all := buckets{}
	scanner := bufio.NewScanner(response.Body)
	for scanner.Scan() {
		labels, found := strings.CutPrefix(scanner.Text(), name+`_bucket{le="`)
		if !found {
			continue
		}
		bound, count, _ := strings.Cut(labels, `"} `)
		le, err := strconv.ParseFloat(bound, 64)
		if err != nil {
			return nil, fmt.Errorf("read the server's %s: %w", name, err)
		}
		if all[le], err = strconv.ParseFloat(count, 64); err != nil {
			return nil, fmt.Errorf("read the server's %s: %w", name, err)
		}
	}
	return all, scanner.Err()
}

// quantileSince returns the q-quantile of what was added since before, evenly spread in its bucket as Prometheus takes it to be;
// the highest bound for one above all, NaN for nothing.
func (b buckets) quantileSince(before buckets, q float64) float64 {
	rank := q * (b[math.Inf(1)] - before[math.Inf(1)])
	low, below := 0.0, 0.0
	for _, bound := range slices.Sorted(maps.Keys(b)) {
		upTo := b[bound] - before[bound]
		if upTo > 0 && upTo >= rank {
			if math.IsInf(bound, 1) {
				return low
			}
			return low + (bound-low)*(rank-below)/(upTo-below)
		}
		low, below = bound, upTo
	}
	return math.NaN()
}
