package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// Headers of a signed request.
const (
	// TimestampHeader is when the request was made, Unix seconds. Receivers should refuse old ones.
	TimestampHeader = "X-GoHub-Timestamp"
	// SignatureHeader is "sha256=" and what Sign returns.
	SignatureHeader = "X-GoHub-Signature"
)

// PayloadVersion is the number in Payload.Version. It changes when a field changes its meaning or goes away.
const PayloadVersion = 1

// maxWebhookText bounds Payload.Text in UTF-16 units, so that chat services take it.
const maxWebhookText = 3500

// Payload is the JSON that a webhook gets.
type Payload struct {
	Version int `json:"version"`
	// Time is when the newest of the events happened, RFC 3339.
	Time time.Time `json:"time"`
	// Text is the message for people. Chat services that take {"text": …} show it.
	Text string `json:"text"`
	// Events are all of different alerts. An event may come twice (when an answer was lost): the alert's id, the
	// event's kind and its time name it.
	Events []PayloadEvent `json:"events"`
}

// PayloadEvent is one alert in a Payload.
type PayloadEvent struct {
	// Event is "firing", "reminder" or "resolved".
	Event Kind `json:"event"`
	// Time is when it happened, RFC 3339.
	Time time.Time `json:"time"`
	// ID is the same over the alert's life.
	ID       string   `json:"id"`
	Rule     string   `json:"rule"`
	Severity Severity `json:"severity"`
	HostID   uint32   `json:"host_id"`
	Hostname string   `json:"hostname"`
	// Labels name the instance, as {"mountpoint": "/"}; empty for the host itself.
	Labels map[string]string `json:"labels"`
	// Metric is empty for a rule on silence; Value and Threshold are seconds then.
	Metric    string  `json:"metric"`
	Value     float64 `json:"value"`
	Threshold float64 `json:"threshold"`
	Summary   string  `json:"summary"`
	// ActiveSince is when the condition began to hold, FiredAt when it had held for long enough, ResolvedAt when it
	// was over; null if that has not happened.
	ActiveSince *time.Time `json:"active_since"`
	FiredAt     *time.Time `json:"fired_at"`
	ResolvedAt  *time.Time `json:"resolved_at"`
}

// Sign returns the hex HMAC-SHA256, under the secret, of the timestamp as in TimestampHeader, a dot, and the body.
func Sign(secret, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// webhookSender posts to one URL.
type webhookSender struct {
	client    *http.Client
	url       string
	secret    string
	headers   map[string]Secret
	userAgent string
}

func (w Webhook) senders(o Options, add func(sender, scrubber)) error {
	target, err := readSecret(w.URL, w.URLFile)
	if err != nil {
		return fmt.Errorf("webhook %q: url_file: %w", w.Name, err)
	}
	parsed, err := parseURL(target)
	if err != nil {
		return fmt.Errorf("webhook %q: url: %w", w.Name, err)
	}
	secret, err := readSecret(w.Secret, w.SecretFile)
	if err != nil {
		return fmt.Errorf("webhook %q: secret_file: %w", w.Name, err)
	}
	dial, proxy := publicDial(), (func(*http.Request) (*url.URL, error))(nil)
	if w.AllowPrivate {
		dial, proxy = directDial(), o.Proxy
	}
	client, err := httpClient(w.CAFile, dial, proxy)
	if err != nil {
		return fmt.Errorf("webhook %q: %w", w.Name, err)
	}
	// Of the URL the host may be told, which people need to find a fault; the rest may be a key.
	hide := []string{secret, target, parsed.RawQuery}
	if len(parsed.Path) > 1 {
		hide = append(hide, parsed.RequestURI(), parsed.Path)
	}
	if password, ok := parsed.User.Password(); ok {
		hide = append(hide, password)
	}
	for _, value := range w.Headers {
		hide = append(hide, value.Reveal())
	}
	add(&webhookSender{client: client, url: target, secret: secret, headers: w.Headers, userAgent: o.UserAgent}, newScrubber(hide...))
	return nil
}

func (s *webhookSender) send(ctx context.Context, m message) error {
	body, err := json.Marshal(payload(m))
	if err != nil {
		return permanent(fmt.Errorf("encode: %w", err))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return permanent(errors.New("make the request"))
	}
	for name, value := range s.headers {
		request.Header.Set(name, value.Reveal())
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", s.userAgent)
	if s.secret != "" {
		timestamp := strconv.FormatInt(time.Now().Unix(), 10)
		request.Header.Set(TimestampHeader, timestamp)
		request.Header.Set(SignatureHeader, "sha256="+Sign(s.secret, timestamp, body))
	}
	response, err := s.client.Do(request)
	if err != nil {
		if errors.Is(err, errPrivate) {
			return permanent(withoutURL(err))
		}
		return withoutURL(err)
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswer))
	return answer(response)
}

// answer turns a status into an error, or nil for 2xx.
func answer(response *http.Response) error {
	err := fmt.Errorf("the receiver answered %d %s", response.StatusCode, http.StatusText(response.StatusCode))
	switch code := response.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	// 404 is also what a reverse proxy answers while the receiver behind it is restarted.
	case code == http.StatusNotFound, code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests, code >= 500:
		seconds, parseErr := strconv.ParseUint(response.Header.Get("Retry-After"), 10, 16)
		if parseErr != nil {
			seconds = 0
		}
		return &failure{err: err, after: time.Duration(seconds) * time.Second}
	case code >= 300 && code < 400:
		return permanent(fmt.Errorf("%w, redirects are not followed", err))
	default:
		return permanent(err)
	}
}

// withoutURL strips the URL that the HTTP client puts in front of its errors.
func withoutURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return fmt.Errorf("post: %w", wrapped.Err)
	}
	return err
}

func payload(m message) Payload {
	p := Payload{Version: PayloadVersion, Time: m.time().UTC(), Text: m.body(maxWebhookText)}
	for _, kind := range kinds {
		for _, event := range m.of(kind) {
			p.Events = append(p.Events, payloadEvent(event))
		}
	}
	return p
}

func payloadEvent(event Event) PayloadEvent {
	a := event.Alert
	severity := Warning
	if a.GetSeverity() == gohubv1.Severity_SEVERITY_CRITICAL {
		severity = Critical
	}
	labels := a.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	return PayloadEvent{
		Event: event.Kind, Time: event.At.UTC(), ID: a.GetId(), Rule: a.GetRule(), Severity: severity,
		HostID: a.GetHostId(), Hostname: a.GetHostname(), Labels: labels, Metric: a.GetMetric(),
		Value: finite(a.GetValue()), Threshold: finite(a.GetThreshold()), Summary: a.GetSummary(),
		ActiveSince: moment(a.GetActiveSince()), FiredAt: moment(a.GetFiredAt()), ResolvedAt: moment(a.GetResolvedAt()),
	}
}

func moment(t *timestamppb.Timestamp) *time.Time {
	if t == nil {
		return nil
	}
	at := t.AsTime()
	return &at
}

// finite keeps what JSON can not say out of it.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}
