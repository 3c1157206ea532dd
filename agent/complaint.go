package agent

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// relogConnection is how often a connection that keeps failing in the same way is logged again.
const relogConnection = 10 * time.Minute

// trouble is why there is no stream, in a form that stays the same while the cause does: error texts hold port numbers
// that change with every attempt.
type trouble struct {
	kind string
	hint string // what to do about it
}

// diagnose finds out from an error what is wrong.
func diagnose(err error) trouble {
	text := err.Error()
	code := status.Code(err)
	contains := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(text, part) {
				return true
			}
		}
		return false
	}
	switch {
	case errors.Is(err, errNoToken):
		return trouble{"token unreadable", "check the file that holds the agent's token"}
	case errors.Is(err, errNoWelcome):
		return trouble{"no welcome", "the server took the connection but does not answer: is it a GoHub server, and is its storage up?"}
	case errors.Is(err, errForeignEpoch):
		return trouble{"numbering", "is this machine, or its state directory, a copy of another one? If so, stop the copy and delete its state directory"}
	case code == codes.Unauthenticated:
		return trouble{"unauthenticated", "the server refuses this agent's token: check that it is the one issued for this agent by this server, and not revoked"}
	case code == codes.PermissionDenied:
		return trouble{"permission denied", "the token is known but may not send samples: issue an agent token"}
	case code == codes.Unimplemented:
		return trouble{"unimplemented", "what answers at this address is not a GoHub server, or a much older one: check address and version"}
	case code == codes.InvalidArgument:
		return trouble{"invalid argument", "the server refuses a message as malformed: are the agent's and the server's versions compatible?"}
	case code == codes.ResourceExhausted:
		return trouble{"resource exhausted", "the server's limit is reached: see the server's log for which"}
	case code == codes.OutOfRange:
		return trouble{"clock", "this machine's clock is not the server's, which the server takes to be the wrong one: check both"}
	case code == codes.Aborted:
		return trouble{"aborted", "if this repeats, another agent uses this agent's identity: was this machine cloned?"}
	case contains("first record does not look like a TLS handshake"):
		return trouble{"plaintext server", "the server answers without TLS: use its TLS port, or allow plaintext explicitly"}
	case contains("x509:", "certificate", "tls:"):
		return trouble{"TLS", "check the CA file, the server's name and the clock of this machine"}
	case contains("connection refused"):
		return trouble{"refused", "nothing listens there: check the address, and that the server runs"}
	case contains("no such host", "produced zero addresses", "name resolver"):
		return trouble{"name", "the server's name does not resolve: check it, and this machine's DNS"}
	case contains("no route to host", "network is unreachable"):
		return trouble{"unreachable", "there is no way to the server: check this machine's network"}
	case contains("error reading server preface", "connection reset by peer", "frame too large"):
		return trouble{"handshake", "the other side hung up during the handshake: does the server expect TLS, or is it starting?"}
	case code == codes.DeadlineExceeded, errors.Is(err, context.DeadlineExceeded), contains("i/o timeout", "timed out"):
		return trouble{"timeout", "the server does not answer: check the address, and firewalls between"}
	default:
		return trouble{code.String(), "the connection is tried again by itself"}
	}
}

// complaints logs the state of the connection when it changes, and at a low rate while it does not. Not safe for
// concurrent use.
type complaints struct {
	log      *slog.Logger
	server   string
	now      func() time.Time
	kind     string // of the trouble at present, "" for none
	since    time.Time
	loggedAt time.Time
	attempts int
	// greeted is when a connect was last logged; a stream that comes and goes does not say so every time.
	greeted time.Time
}

func (c *complaints) fail(err error, retryIn time.Duration) {
	now := c.now()
	t := diagnose(err)
	if c.kind == "" {
		c.since, c.attempts = now, 0
	}
	c.attempts++
	if t.kind == c.kind && now.Sub(c.loggedAt) < relogConnection {
		return
	}
	c.kind, c.loggedAt = t.kind, now
	c.log.Warn("not connected to the server; samples are kept and sent later",
		"server", c.server, "error", err, "hint", t.hint, "attempts", c.attempts, "since", c.since.UTC().Format(time.RFC3339), "retry_in", retryIn.Round(time.Millisecond))
}

func (c *complaints) connected(args ...any) {
	now := c.now()
	level := slog.LevelInfo
	if !c.greeted.IsZero() && now.Sub(c.greeted) < relogConnection {
		level = slog.LevelDebug
	}
	args = append([]any{"server", c.server}, args...)
	if c.kind != "" {
		args = append(args, "after", now.Sub(c.since).Round(time.Second))
	}
	if level == slog.LevelInfo {
		c.greeted = now
	}
	c.log.Log(context.Background(), level, "streaming to the server", args...)
}

// healthy forgets the trouble, so that the next one is logged even if it is of the same kind.
func (c *complaints) healthy() { c.kind, c.greeted = "", time.Time{} }
