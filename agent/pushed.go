package agent

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// pushedSeries are those that programs have sent, each until it is sent again or too old. It is safe for concurrent use.
type pushedSeries struct {
	now    func() time.Time
	maxAge time.Duration
	most   int

	mu    sync.Mutex // guards those below
	byKey map[string]pushedValue
	bytes int // of the keys
}

type pushedValue struct {
	customSeries
	at time.Time
}

func newPushedSeries(now func() time.Time, maxAge time.Duration, most int) *pushedSeries {
	return &pushedSeries{now: now, maxAge: maxAge, most: most, byKey: map[string]pushedValue{}}
}

// push takes all of a text's series, or none and says why. A series without a reading (NaN) is taken back.
func (p *pushedSeries) push(text []byte) error {
	var sent []customSeries
	known := map[string]bool{}
	err := parseSeries(text, func(series customSeries) error {
		if len(sent) == p.most {
			return fmt.Errorf("there are over %d series, the limit", p.most)
		}
		if known[series.key] {
			return fmt.Errorf("the series %.200s is there twice", series.key)
		}
		known[series.key] = true
		sent = append(sent, series)
		return nil
	})
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire()
	count, bytes := len(p.byKey), p.bytes
	for _, series := range sent {
		_, has := p.byKey[series.key]
		switch gone := math.IsNaN(series.value); {
		case has && gone:
			count, bytes = count-1, bytes-len(series.key)
		case !has && !gone:
			count, bytes = count+1, bytes+len(series.key)
		}
	}
	if count > p.most || bytes > maxCustomBytes {
		return fmt.Errorf("with these there would be %d series of %d bytes, the limits are %d and %d; those that are not sent again are gone after %s",
			count, bytes, p.most, maxCustomBytes, p.maxAge)
	}
	p.bytes = bytes
	at := p.now()
	for _, series := range sent {
		if math.IsNaN(series.value) {
			delete(p.byKey, series.key)
			continue
		}
		p.byKey[series.key] = pushedValue{series, at}
	}
	return nil
}

// expire is called with mu held.
func (p *pushedSeries) expire() {
	now := p.now()
	for key, value := range p.byKey {
		// One from the future was sent before the clock was set back.
		if age := now.Sub(value.at); age > p.maxAge || age < -p.maxAge {
			delete(p.byKey, key)
			p.bytes -= len(key)
		}
	}
}

// fresh returns the series that live, by name and labels.
func (p *pushedSeries) fresh() []customSeries {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire()
	all := make([]customSeries, 0, len(p.byKey))
	for _, value := range p.byKey {
		all = append(all, value.customSeries)
	}
	slices.SortFunc(all, func(a, b customSeries) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.labels, b.labels))
	})
	return all
}
