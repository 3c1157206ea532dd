package notify_test

import (
	"context"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/alert/alerttest"
	"github.com/gohub-io/gohub/alert/notify"
)

func email(server *alerttest.SMTP, mode notify.TLSMode, ca string) notify.Email {
	return notify.Email{
		Receiver: notify.Receiver{Name: "mail", CAFile: ca}, Host: server.Host, Port: server.Port, TLS: mode,
		From: "GoHub <gohub@example.com>", To: []string{"Ops <ops@example.com>"},
	}
}

func startSMTP(t *testing.T, o alerttest.SMTPOptions) (*alerttest.SMTP, string) {
	t.Helper()
	server, err := alerttest.NewSMTP(o)
	require.NoError(t, err)
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, server.CA, 0o600))
	return server, ca
}

func TestEmailThroughEveryEncryption(t *testing.T) {
	for _, test := range []struct {
		mode      notify.TLSMode
		options   alerttest.SMTPOptions
		encrypted bool
	}{
		{notify.NoTLS, alerttest.SMTPOptions{}, false},
		{"", alerttest.SMTPOptions{StartTLS: true, Username: "gohub", Password: "correct horse"}, true},
		{notify.ImplicitTLS, alerttest.SMTPOptions{TLS: true, Username: "gohub", Password: "correct horse"}, true},
	} {
		server, ca := startSMTP(t, test.options)
		c := email(server, test.mode, ca)
		c.Username = test.options.Username
		if c.Username != "" {
			c.PasswordFile = filepath.Join(t.TempDir(), "password")
			require.NoError(t, os.WriteFile(c.PasswordFile, []byte(test.options.Password+"\n"), 0o600))
		}
		r := run(t, notify.Config{Email: []notify.Email{c}})
		r.d.Notify([]notify.Event{event(notify.Firing, "c1"), event(notify.Resolved, "a")})
		mails, err := server.Wait(within(t), 1)
		require.NoError(t, err, "%s", r.log)
		r.stop()
		require.Equal(t, test.encrypted, mails[0].Encrypted)
		require.Equal(t, test.options.Username, mails[0].User)
		require.Equal(t, "gohub@example.com", mails[0].From)
		require.Equal(t, []string{"ops@example.com"}, mails[0].To)
		header := mails[0].Message.Header
		require.Equal(t, "[GoHub] 1 firing, 1 resolved", header.Get("Subject"))
		require.Equal(t, `"Ops" <ops@example.com>`, header.Get("To"))
		require.Equal(t, "auto-generated", header.Get("Auto-Submitted"))
		require.Equal(t, "text/plain; charset=UTF-8", header.Get("Content-Type"))
		body, err := io.ReadAll(quotedprintable.NewReader(mails[0].Message.Body))
		require.NoError(t, err)
		require.Equal(t, "CRITICAL: summary of c1 [rule-c1]\r\nRESOLVED: summary of a, after 30m [rule-a]\r\n\r\nhttps://gohub.example.com\r\n", string(body))
		r.counts("mail", 1, 0, 0, 0)
	}
}

func TestEmailHeadersCanNotBeInjected(t *testing.T) {
	server, _ := startSMTP(t, alerttest.SMTPOptions{})
	r := run(t, notify.Config{Email: []notify.Email{email(server, notify.NoTLS, "")}})
	e := event(notify.Firing, "a")
	e.Alert.Hostname = "web\r\nBcc: victim@example.com\r\n\r\n<html>é"
	e.Alert.Summary = "x\r\n.\r\nMAIL FROM:<evil@example.com>"
	r.d.Notify([]notify.Event{e})
	mails, err := server.Wait(within(t), 1)
	require.NoError(t, err)
	r.stop()
	require.Empty(t, mails[0].Message.Header.Get("Bcc"))
	subject, err := new(mime.WordDecoder).DecodeHeader(mails[0].Message.Header.Get("Subject"))
	require.NoError(t, err)
	require.Equal(t, "[GoHub] WARNING: rule-a on web\ufffd\ufffdBcc: victim@example.com\ufffd\ufffd\ufffd\ufffd<html>é", subject)
	require.Len(t, server.Mails(), 1)
	require.Equal(t, "gohub@example.com", mails[0].From)
}

func TestEmailFailures(t *testing.T) {
	t.Run("a greylisting server is tried again", func(t *testing.T) {
		server, _ := startSMTP(t, alerttest.SMTPOptions{})
		server.Fail(451, 421)
		r := run(t, notify.Config{Email: []notify.Email{email(server, notify.NoTLS, "")}})
		r.d.Notify([]notify.Event{event(notify.Firing, "a")})
		_, err := server.Wait(within(t), 1)
		require.NoError(t, err)
		r.stop()
		r.counts("mail", 1, 2, 0, 0)
	})
	t.Run("a refused recipient holds up no other", func(t *testing.T) {
		server, _ := startSMTP(t, alerttest.SMTPOptions{})
		server.FailRecipient("gone@example.com", 550)
		c := email(server, notify.NoTLS, "")
		c.To = []string{"gone@example.com", "ops@example.com"}
		r := run(t, notify.Config{Email: []notify.Email{c}})
		r.d.Notify([]notify.Event{event(notify.Firing, "a")})
		_, err := server.Wait(within(t), 1)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return strings.Contains(r.log.String(), "550") }, 30*time.Second, time.Millisecond)
		r.stop()
		r.counts("mail", 1, 0, 1, 1)
	})
	for _, test := range []struct {
		name    string
		options alerttest.SMTPOptions
		mode    notify.TLSMode
		trust   bool
		log     string
	}{
		{"a wrong password is final", alerttest.SMTPOptions{StartTLS: true, Username: "gohub", Password: "other"}, notify.StartTLS, true, "notification rejected"},
		{"a server without STARTTLS gets nothing", alerttest.SMTPOptions{}, notify.StartTLS, true, "does not support STARTTLS"},
		{"a certificate that is not trusted", alerttest.SMTPOptions{StartTLS: true}, notify.StartTLS, false, "certificate"},
		{"a certificate that is not trusted, implicit", alerttest.SMTPOptions{TLS: true}, notify.ImplicitTLS, false, "certificate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server, ca := startSMTP(t, test.options)
			if !test.trust {
				ca = ""
			}
			c := email(server, test.mode, ca)
			c.Username, c.Password = "gohub", "correct horse"
			r := run(t, notify.Config{Email: []notify.Email{c}})
			r.d.Notify([]notify.Event{event(notify.Firing, "a")})
			require.Eventually(t, func() bool { return strings.Contains(r.log.String(), test.log) }, 30*time.Second, time.Millisecond, "%s", r.log)
			r.stop()
			require.Empty(t, server.Mails())
			require.NotContains(t, r.log.String(), "correct horse")
		})
	}
	t.Run("a password never goes in the clear", func(t *testing.T) {
		c := notify.Email{
			Receiver: notify.Receiver{Name: "mail"}, Host: "127.0.0.1", TLS: notify.NoTLS, Username: "gohub", Password: "correct horse",
			From: "a@example.com", To: []string{"b@example.com"},
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer listener.Close()
		c.Port = listener.Addr().(*net.TCPAddr).Port
		// The library makes an exception for localhost, so the server is called by another name that leads here.
		c.Host = "127.0.0.2"
		other, err := net.Listen("tcp", fmt.Sprintf("127.0.0.2:%d", c.Port))
		if err != nil {
			t.Skip("this machine has no 127.0.0.2")
		}
		heard := make(chan string, 1)
		go func() {
			conn, err := other.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "220 here\r\n")
			buffer := make([]byte, 4096)
			_, _ = conn.Read(buffer)
			_, _ = io.WriteString(conn, "250-here\r\n250 AUTH PLAIN LOGIN\r\n")
			n, _ := conn.Read(buffer)
			heard <- string(buffer[:n])
		}()
		r := run(t, notify.Config{Email: []notify.Email{c}})
		r.d.Notify([]notify.Event{event(notify.Firing, "a")})
		require.NotContains(t, <-heard, "AUTH")
		other.Close()
		r.stop()
	})
}

// TestEmailServerThatHangs: neither one that never greets nor the end of the process waits for it.
func TestEmailServerThatHangs(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	c := notify.Email{
		Receiver: notify.Receiver{Name: "mail", Timeout: notify.Duration(20 * time.Millisecond)},
		Host:     "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port, TLS: notify.NoTLS, From: "a@example.com", To: []string{"b@example.com"},
	}
	r := run(t, notify.Config{Email: []notify.Email{c}})
	r.d.Notify([]notify.Event{event(notify.Firing, "a")})
	require.Eventually(t, func() bool { return strings.Contains(r.log.String(), "trying again") }, 30*time.Second, time.Millisecond)
	r.stop()

	c.Timeout = notify.Duration(time.Hour)
	d, err := notify.New(notify.Options{Config: notify.Config{Email: []notify.Email{c}}, Drain: 20 * time.Millisecond})
	require.NoError(t, err)
	d.Notify([]notify.Event{event(notify.Firing, "a")})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	begun := time.Now()
	d.Run(ctx)
	require.Less(t, time.Since(begun), 10*time.Second)
}
