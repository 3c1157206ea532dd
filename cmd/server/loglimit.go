package main

import (
	"context"
	"log/slog"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// What agents cause is logged so much and no more: thousands of them can meet the same trouble at once, again and again.
const (
	agentLinesEach  = 10 // a second
	agentLinesBurst = 200
)

// limitedHandler passes on a bounded number of lines, and tells in the next one how many it left out.
type limitedHandler struct {
	slog.Handler
	*lineLimit
}

type lineLimit struct {
	limiter    *rate.Limiter
	suppressed atomic.Int64
}

func limitLines(handler slog.Handler, each rate.Limit, burst int) slog.Handler {
	return limitedHandler{handler, &lineLimit{limiter: rate.NewLimiter(each, burst)}}
}

// Handle implements slog.Handler.
func (h limitedHandler) Handle(ctx context.Context, record slog.Record) error {
	if !h.limiter.AllowN(record.Time, 1) {
		h.suppressed.Add(1)
		return nil
	}
	if n := h.suppressed.Swap(0); n > 0 {
		record = record.Clone()
		record.AddAttrs(slog.Int64("suppressed", n))
	}
	return h.Handler.Handle(ctx, record)
}

// WithAttrs implements slog.Handler. The lines of what it returns count with the others.
func (h limitedHandler) WithAttrs(attributes []slog.Attr) slog.Handler {
	return limitedHandler{h.Handler.WithAttrs(attributes), h.lineLimit}
}

// WithGroup implements slog.Handler.
func (h limitedHandler) WithGroup(name string) slog.Handler {
	return limitedHandler{h.Handler.WithGroup(name), h.lineLimit}
}
