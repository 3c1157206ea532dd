package alerttest

import (
	"context"
	"crypto/hmac"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/gohub-io/gohub/alert/notify"
)

// WebhookRequest is one accepted request.
type WebhookRequest struct {
	Header  http.Header
	Body    []byte
	Payload notify.Payload
}

// Webhook stands in for a receiver of webhooks.
type Webhook struct {
	// URL is where to post. It has a path that looks like a key.
	URL string

	secret string
	server *httptest.Server
	got    *box[WebhookRequest]

	mu       sync.Mutex
	failures []WebhookFailure
	attempts int
}

// WebhookFailure is an answer that refuses a request.
type WebhookFailure struct {
	Code int
	// Header is added to the answer, as Retry-After or Location.
	Header http.Header
}

// NewWebhook starts a receiver. With a secret it answers 401 to what is not signed by it. Close it.
func NewWebhook(secret string) *Webhook {
	w := &Webhook{secret: secret, got: newBox[WebhookRequest]()}
	w.server = httptest.NewServer(http.HandlerFunc(w.serve))
	w.URL = w.server.URL + "/hooks/T0P-S3CRET-K3Y"
	return w
}

// Close stops the receiver.
func (w *Webhook) Close() { w.server.Close() }

// Fail makes the next requests fail, one for each failure.
func (w *Webhook) Fail(failures ...WebhookFailure) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failures = append(w.failures, failures...)
}

// Attempts returns how many requests there were, refused ones included.
func (w *Webhook) Attempts() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.attempts
}

// Requests returns the accepted requests.
func (w *Webhook) Requests() []WebhookRequest { return w.got.all() }

// Wait returns the accepted requests once there are n, or the context's error.
func (w *Webhook) Wait(ctx context.Context, n int) ([]WebhookRequest, error) {
	return w.got.wait(ctx, n)
}

func (w *Webhook) serve(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.attempts++
	var failure WebhookFailure
	if len(w.failures) > 0 {
		failure, w.failures = w.failures[0], w.failures[1:]
	}
	w.mu.Unlock()
	if failure.Code != 0 {
		for name, values := range failure.Header {
			out.Header()[name] = values
		}
		out.WriteHeader(failure.Code)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 16<<20))
	if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		out.WriteHeader(http.StatusBadRequest)
		return
	}
	if w.secret != "" {
		signature, ok := strings.CutPrefix(r.Header.Get(notify.SignatureHeader), "sha256=")
		want := notify.Sign(w.secret, r.Header.Get(notify.TimestampHeader), body)
		if !ok || !hmac.Equal([]byte(signature), []byte(want)) {
			out.WriteHeader(http.StatusUnauthorized)
			return
		}
	}
	request := WebhookRequest{Header: r.Header.Clone(), Body: body}
	if err := json.Unmarshal(body, &request.Payload); err != nil {
		out.WriteHeader(http.StatusBadRequest)
		return
	}
	w.got.add(request)
	out.WriteHeader(http.StatusNoContent)
}
