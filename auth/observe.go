package auth

import (
	"log/slog"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// Values of the label result.
const (
	loginSuccess     = "success"
	loginWrong       = "wrong_password"
	loginLimited     = "limited"
	loginBusy        = "busy"
	loginMalformed   = "malformed"
	loginUnavailable = "unavailable"
)

// Values of the label kind.
const (
	deniedAnonymous     = "anonymous"
	deniedBadCredential = "bad_credential"
	deniedForbidden     = "forbidden"
	deniedHost          = "foreign_host"
	deniedOrigin        = "foreign_origin"
	deniedUnavailable   = "unavailable"
)

type metrics struct {
	logins *prometheus.CounterVec
	denied *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	m := &metrics{
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gohub_auth_logins_total", Help: "Tries to log in to the dashboard, by result.",
		}, []string{"result"}),
		denied: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gohub_auth_denied_total", Help: "Calls over gRPC and HTTP that were denied, by kind of reason.",
		}, []string{"kind"}),
	}
	// Every series is there from the start, so that the first denial is an increase.
	for _, result := range []string{loginSuccess, loginWrong, loginLimited, loginBusy, loginMalformed, loginUnavailable} {
		m.logins.WithLabelValues(result)
	}
	for _, kind := range []string{deniedAnonymous, deniedBadCredential, deniedForbidden, deniedHost, deniedOrigin, deniedUnavailable} {
		m.denied.WithLabelValues(kind)
	}
	registerer.MustRegister(m.logins, m.denied)
	return m
}

// Lines of one sort that strangers can cause: ten at once, then one a second.
const (
	logBurst = 10
	logEvery = time.Second
)

// boundedLogger writes a bounded number of lines and tells in the next one how many it left out. It is safe for
// concurrent use.
type boundedLogger struct {
	logger     *slog.Logger
	now        func() time.Time
	limiter    *rate.Limiter
	suppressed atomic.Int64
}

func newBoundedLogger(logger *slog.Logger, now func() time.Time) *boundedLogger {
	return &boundedLogger{logger: logger, now: now, limiter: rate.NewLimiter(rate.Every(logEvery), logBurst)}
}

var silent = slog.New(slog.DiscardHandler)

// line returns the logger for one line.
func (l *boundedLogger) line() *slog.Logger {
	if !l.limiter.AllowN(l.now(), 1) {
		l.suppressed.Add(1)
		return silent
	}
	if n := l.suppressed.Swap(0); n > 0 {
		return l.logger.With("suppressed", n)
	}
	return l.logger
}

// maxLogged bounds what a caller's string takes of a log line, in bytes.
const maxLogged = 128

// printable makes a caller's string safe for any log: short, and without line breaks and control characters.
func printable(s string) string {
	cut := ""
	if len(s) > maxLogged {
		s, cut = s[:maxLogged], "…"
	}
	return strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '�'
		}
		return r
	}, s), "�") + cut
}
