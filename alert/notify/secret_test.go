package notify_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/alert/notify"
)

// TestSecretsAreNeverTold makes every kind of receiver fail in several ways, with servers that echo what they got, and
// looks for the secrets in the log.
func TestSecretsAreNeverTold(t *testing.T) {
	const password, secret, bearer = "correct horse/battery", "hmac+s3cret", "Bearer t0ken=="
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]any{"ok": false, "error_code": 400, "description": "Bad Request: " + r.URL.String() + r.Header.Get("Authorization")})
	}))
	defer echo.Close()
	garbage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("<html>" + r.URL.String() + "</html>"))
	}))
	defer garbage.Close()
	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
	}))
	defer cut.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed.Close()

	key := "/hooks/T000%2FKEY?sig=a%20b"
	for name, base := range map[string]string{
		"echo": echo.URL, "garbage": garbage.URL, "cut": cut.URL, "closed": "http://" + closed.Addr().String(),
		"unresolvable": "http://name.invalid", "plain on TLS": strings.Replace(echo.URL, "http:", "https:", 1),
	} {
		t.Run(name, func(t *testing.T) {
			host, _, _ := strings.Cut(strings.SplitN(base, "//", 2)[1], ":")
			r := run(t, notify.Config{
				Telegram: []notify.Telegram{{Receiver: notify.Receiver{Name: "chat"}, Token: token, ChatIDs: []string{"1"}, APIURL: base}},
				Webhooks: []notify.Webhook{{
					Receiver: notify.Receiver{Name: "hook"}, URL: notify.Secret(strings.Replace(base, "//", "//user:urlpass@", 1) + key), Secret: secret,
					Headers: map[string]notify.Secret{"Authorization": bearer}, AllowPrivate: true,
				}},
				Email: []notify.Email{{
					Receiver: notify.Receiver{Name: "mail"}, Host: host, Port: closed.Addr().(*net.TCPAddr).Port,
					Username: "gohub", Password: password, From: "a@example.com", To: []string{"b@example.com"},
				}},
			})
			r.d.Notify([]notify.Event{event(notify.Firing, "a")})
			failed := func() bool {
				return strings.Contains(r.log.String(), "receiver=chat") && strings.Contains(r.log.String(), "receiver=mail") &&
					(strings.Contains(r.log.String(), "receiver=hook") || name == "garbage")
			}
			require.Eventually(t, failed, 30*time.Second, time.Millisecond, "%s", r.log)
			r.stop()
			t.Log(r.log.String())
			for _, leak := range []string{token, "AAbb-Cc_dd", password, secret, "t0ken", "T000", "sig=a", "urlpass"} {
				require.NotContains(t, r.log.String(), leak)
			}
		})
	}
}

func TestSecretsHideThemselves(t *testing.T) {
	c := notify.Config{Webhooks: []notify.Webhook{{URL: "https://x/k3y", Headers: map[string]notify.Secret{"A": "k3y"}}}}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("config", "config", c, "url", c.Webhooks[0].URL)
	encoded, err := json.Marshal(c)
	require.NoError(t, err)
	for _, text := range []string{
		log.String(), string(encoded), fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), fmt.Sprintf("%q", c.Webhooks[0].URL), fmt.Sprintf("%x", c.Webhooks[0].URL),
		fmt.Errorf("%v", c.Webhooks[0].URL).Error(),
	} {
		require.NotContains(t, text, "k3y")
		require.NotContains(t, text, "6b3379")
	}
	require.Equal(t, "https://x/k3y", c.Webhooks[0].URL.Reveal())
}

func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	hook := func(url string) notify.Config {
		return notify.Config{Webhooks: []notify.Webhook{{Receiver: notify.Receiver{Name: "hook"}, URLFile: url}}}
	}
	bot := func(path string) notify.Config {
		return notify.Config{Telegram: []notify.Telegram{{Receiver: notify.Receiver{Name: "chat"}, TokenFile: path, ChatIDs: []string{"1"}}}}
	}
	for name, test := range map[string]struct {
		config notify.Config
		want   string
	}{
		"right":       {hook(file("right", "https://example.com/k3y\r\n")), ""},
		"missing":     {hook(filepath.Join(dir, "nowhere")), "no such file"},
		"empty":       {hook(file("empty", "\n")), "is empty"},
		"too long":    {hook(file("long", strings.Repeat("x", 1<<20))), "is larger than"},
		"not a URL":   {hook(file("url", "k3y")), "not a URL"},
		"token":       {bot(file("token", token+"\n")), ""},
		"not a token": {bot(file("bad", "k3y with spaces")), "not a bot token"},
		"ca missing":  {notify.Config{Telegram: []notify.Telegram{{Receiver: notify.Receiver{Name: "c", CAFile: "/nowhere"}, Token: token, ChatIDs: []string{"1"}}}}, "ca_file"},
		"ca no cert":  {notify.Config{Email: []notify.Email{{Receiver: notify.Receiver{Name: "c", CAFile: file("ca", "x")}, Host: "h", From: "a@b.c", To: []string{"a@b.c"}}}}, "has no certificate"},
		"password":    {notify.Config{Email: []notify.Email{{Receiver: notify.Receiver{Name: "c"}, Host: "h", Username: "u", PasswordFile: "/nowhere", From: "a@b.c", To: []string{"a@b.c"}}}}, "password_file"},
		"secret file": {notify.Config{Webhooks: []notify.Webhook{{Receiver: notify.Receiver{Name: "c"}, URL: "https://x", SecretFile: "/nowhere"}}}, "secret_file"},
	} {
		_, err := notify.New(notify.Options{Config: test.config})
		if test.want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, test.want, name)
		require.NotContains(t, err.Error(), "k3y", name)
	}
}

func TestPublicAddresses(t *testing.T) {
	for _, text := range []string{"1.1.1.1", "8.8.8.8", "93.184.216.34", "172.32.0.1", "2606:4700::1111", "2a00::1", "::ffff:1.1.1.1"} {
		require.True(t, notify.Public(netip.MustParseAddr(text)), text)
	}
	for _, text := range []string{
		"127.0.0.1", "127.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1",
		"0.0.0.0", "0.1.2.3", "255.255.255.255", "224.0.0.1", "240.0.0.1", "198.18.0.1", "192.0.0.8", "192.0.2.1",
		"::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1",
		"64:ff9b::7f00:1", "2002:7f00:1::", "2001::1", "2001:db8::1", "fec0::1", "100::1",
	} {
		require.False(t, notify.Public(netip.MustParseAddr(text)), text)
	}
}

func TestText(t *testing.T) {
	long := event(notify.Firing, "c1")
	long.Alert.Summary = strings.Repeat("💾", 5000)
	require.LessOrEqual(t, notify.Units(notify.Body("https://x", 4096, long)), 4096)

	var many []notify.Event
	for i := range 1000 {
		many = append(many, event(notify.Firing, fmt.Sprint(i)))
	}
	body := notify.Body("https://x", 4096, many...)
	require.LessOrEqual(t, notify.Units(body), 4096)
	require.Regexp(t, `… and \d+ more\n\nhttps://x\n$`, body)
	shown := strings.Count(body, "WARNING")
	require.Contains(t, body, fmt.Sprintf("… and %d more", 1000-shown))

	require.Equal(t, "[GoHub] 1000 firing", notify.Subject(many...))
	require.Equal(t, "[GoHub] 1 firing, 1 still firing, 1 resolved",
		notify.Subject(event(notify.Firing, "a"), event(notify.Reminder, "b"), event(notify.Resolved, "d")))
	require.Equal(t, "[GoHub] STILL CRITICAL: rule-c on web-1", notify.Subject(event(notify.Reminder, "c")))
	require.Equal(t, "STILL WARNING: summary of a, since 2026-03-01 11:30 UTC [rule-a]\n", notify.Body("", 4096, event(notify.Reminder, "a")))
	require.Equal(t, "[GoHub] RESOLVED: rule-a on web-1", notify.Subject(event(notify.Resolved, "a")))
	hidden := event(notify.Firing, "a")
	hidden.Alert.Summary = "a\u202eb\x1b[31m\u2028c\xff"
	require.Equal(t, "WARNING: a\ufffdb\ufffd[31m\ufffdc\ufffd [rule-a]\n", notify.Body("", 4096, hidden))
}
