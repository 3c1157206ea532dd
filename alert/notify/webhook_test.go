package notify_test

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/alert/alerttest"
	"github.com/gohub-io/gohub/alert/notify"
)

func webhook(hook *alerttest.Webhook) notify.Config {
	return notify.Config{Webhooks: []notify.Webhook{{
		Receiver: notify.Receiver{Name: "hook"}, URL: notify.Secret(hook.URL), Secret: "s3cret-key", AllowPrivate: true,
		Headers: map[string]notify.Secret{"Authorization": "Bearer t0ken"},
	}}}
}

func TestWebhookGetsSignedJSON(t *testing.T) {
	hook := alerttest.NewWebhook("s3cret-key")
	defer hook.Close()
	r := run(t, webhook(hook))
	r.d.Notify([]notify.Event{event(notify.Resolved, "a"), event(notify.Firing, "b"), event(notify.Firing, "c1")})
	requests, err := hook.Wait(within(t), 1)
	require.NoError(t, err)
	r.stop()
	require.Equal(t, "Bearer t0ken", requests[0].Header.Get("Authorization"))
	require.Equal(t, "GoHub", requests[0].Header.Get("User-Agent"))
	require.JSONEq(t, `{
	  "version": 1,
	  "time": "2026-03-01T12:00:00Z",
	  "text": "CRITICAL: summary of c1 [rule-c1]\nWARNING: summary of b [rule-b]\nRESOLVED: summary of a, after 30m [rule-a]\n\nhttps://gohub.example.com\n",
	  "events": [
	    {"event": "firing", "time": "2026-03-01T12:00:00Z", "id": "c1", "rule": "rule-c1", "severity": "critical",
	     "host_id": 7, "hostname": "web-1", "labels": {}, "metric": "cpu_usage_percent", "value": 95, "threshold": 90,
	     "summary": "summary of c1", "active_since": "2026-03-01T11:00:00Z", "fired_at": "2026-03-01T11:30:00Z", "resolved_at": null},
	    {"event": "firing", "time": "2026-03-01T12:00:00Z", "id": "b", "rule": "rule-b", "severity": "warning",
	     "host_id": 7, "hostname": "web-1", "labels": {}, "metric": "cpu_usage_percent", "value": 95, "threshold": 90,
	     "summary": "summary of b", "active_since": "2026-03-01T11:00:00Z", "fired_at": "2026-03-01T11:30:00Z", "resolved_at": null},
	    {"event": "resolved", "time": "2026-03-01T12:00:00Z", "id": "a", "rule": "rule-a", "severity": "warning",
	     "host_id": 7, "hostname": "web-1", "labels": {}, "metric": "cpu_usage_percent", "value": 95, "threshold": 90,
	     "summary": "summary of a", "active_since": "2026-03-01T11:00:00Z", "fired_at": "2026-03-01T11:30:00Z",
	     "resolved_at": "2026-03-01T12:00:00Z"}
	  ]
	}`, string(requests[0].Body))
	r.counts("hook", 1, 0, 0, 0)
}

func TestWebhookFailures(t *testing.T) {
	for _, test := range []struct {
		name                             string
		failures                         []alerttest.WebhookFailure
		sent, retried, rejected, dropped int
		wait                             time.Duration
	}{
		{"passing faults are tried again", []alerttest.WebhookFailure{{Code: 500}, {Code: 404}, {Code: 408}}, 1, 3, 0, 0, 0},
		{"too many requests waits as told", []alerttest.WebhookFailure{{Code: 429, Header: http.Header{"Retry-After": {"120"}}}}, 1, 1, 0, 0, 2 * time.Minute},
		{"no wait is without bound", []alerttest.WebhookFailure{{Code: 429, Header: http.Header{"Retry-After": {"60000"}}}}, 1, 1, 0, 0, 15 * time.Minute},
		{"a refusal is final", []alerttest.WebhookFailure{{Code: 400}}, 0, 0, 1, 1, 0},
		{"a wrong signature is final", []alerttest.WebhookFailure{{Code: 401}}, 0, 0, 1, 1, 0},
		{"redirects are not followed", []alerttest.WebhookFailure{{Code: 302, Header: http.Header{"Location": {"/elsewhere"}}}}, 0, 0, 1, 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			hook := alerttest.NewWebhook("s3cret-key")
			defer hook.Close()
			hook.Fail(test.failures...)
			r := run(t, webhook(hook))
			r.d.Notify([]notify.Event{event(notify.Firing, "a")})
			attempts := len(test.failures) + test.sent
			require.Eventually(t, func() bool { return hook.Attempts() == attempts }, 30*time.Second, time.Millisecond)
			r.stop()
			require.Equal(t, attempts, hook.Attempts())
			r.counts("hook", test.sent, test.retried, test.rejected, test.dropped)
			if test.wait != 0 {
				require.Equal(t, []time.Duration{test.wait}, r.waited())
			}
			require.NotContains(t, r.log.String(), "T0P-S3CRET")
		})
	}
}

func TestWaitsGrow(t *testing.T) {
	hook := alerttest.NewWebhook("s3cret-key")
	defer hook.Close()
	for range 12 {
		hook.Fail(alerttest.WebhookFailure{Code: 502})
	}
	r := run(t, webhook(hook))
	r.d.Notify([]notify.Event{event(notify.Firing, "a")})
	_, err := hook.Wait(within(t), 1)
	require.NoError(t, err)
	r.stop()
	waits := r.waited()
	require.Len(t, waits, 12)
	for i, wait := range waits {
		full := min(time.Second<<i, 2*time.Minute)
		require.GreaterOrEqual(t, wait, full/2)
		require.LessOrEqual(t, wait, full)
	}
	require.Equal(t, 1, strings.Count(r.log.String(), "level=WARN"), "a receiver that goes on failing is logged once")
	require.Contains(t, r.log.String(), "delivered again")
}

// TestPrivateAddressesAreRefused: by default a webhook can not reach this machine, by address or by name.
func TestPrivateAddressesAreRefused(t *testing.T) {
	hook := alerttest.NewWebhook("")
	defer hook.Close()
	_, port, err := net.SplitHostPort(strings.Split(hook.URL, "/")[2])
	require.NoError(t, err)
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]"} {
		target := "http://" + net.JoinHostPort(strings.Trim(host, "[]"), port) + "/hooks/T0P-S3CRET-K3Y"
		r := run(t, notify.Config{Webhooks: []notify.Webhook{{Receiver: notify.Receiver{Name: "hook"}, URL: notify.Secret(target)}}})
		r.d.Notify([]notify.Event{event(notify.Firing, "a")})
		require.Eventually(t, func() bool { return strings.Contains(r.log.String(), "address is not public") }, 30*time.Second, time.Millisecond)
		r.stop()
		r.counts("hook", 0, 0, 1, 1)
		require.NotContains(t, r.log.String(), "T0P-S3CRET")
	}
	require.Zero(t, hook.Attempts())
}
