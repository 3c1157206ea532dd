package notify_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/alert/alerttest"
	"github.com/gohub-io/gohub/alert/notify"
)

func telegram(bot *alerttest.Telegram, chats ...string) notify.Config {
	return notify.Config{Telegram: []notify.Telegram{{
		Receiver: notify.Receiver{Name: "chat"}, Token: token, ChatIDs: chats, APIURL: bot.URL + "/",
	}}}
}

func TestTelegramSendsPlainText(t *testing.T) {
	bot := alerttest.NewTelegram(token)
	defer bot.Close()
	r := run(t, telegram(bot, "-1001"))
	e := event(notify.Firing, "a")
	e.Alert.Summary = "<b>*bold*</b> on web\r\n-1"
	r.d.Notify([]notify.Event{e})
	messages, err := bot.Wait(within(t), 1)
	require.NoError(t, err)
	require.Equal(t, "-1001", messages[0].Form["chat_id"])
	require.Equal(t, "WARNING: <b>*bold*</b> on web\ufffd\ufffd-1 [rule-a]\n\nhttps://gohub.example.com\n", messages[0].Form["text"])
	require.NotContains(t, messages[0].Form, "parse_mode")
	require.JSONEq(t, `{"is_disabled": true}`, messages[0].Form["link_preview_options"])
	r.stop()
	r.counts("chat", 1, 0, 0, 0)
}

func TestTelegramFailures(t *testing.T) {
	t.Run("too many requests waits as told", func(t *testing.T) {
		bot := alerttest.NewTelegram(token)
		defer bot.Close()
		bot.Fail(alerttest.TelegramFailure{Code: 429, Description: "Too Many Requests: retry after 35", RetryAfter: 35})
		r := run(t, telegram(bot, "-1001"))
		r.d.Notify([]notify.Event{event(notify.Firing, "a")})
		_, err := bot.Wait(within(t), 1)
		require.NoError(t, err)
		r.stop()
		require.Equal(t, []time.Duration{35 * time.Second}, r.waited())
		r.counts("chat", 1, 1, 0, 0)
	})
	t.Run("server errors are tried again", func(t *testing.T) {
		bot := alerttest.NewTelegram(token)
		defer bot.Close()
		bot.Fail(alerttest.TelegramFailure{Code: 502, Description: "Bad Gateway"})
		r := run(t, telegram(bot, "-1001"))
		r.d.Notify([]notify.Event{event(notify.Firing, "a")})
		_, err := bot.Wait(within(t), 1)
		require.NoError(t, err)
		r.stop()
		r.counts("chat", 1, 1, 0, 0)
	})
	t.Run("a chat that blocked the bot holds up no other", func(t *testing.T) {
		bot := alerttest.NewTelegram(token)
		defer bot.Close()
		bot.FailChat("1", alerttest.TelegramFailure{Code: 403, Description: "Forbidden: bot was blocked by the user"})
		r := run(t, telegram(bot, "1", "2"))
		r.d.Notify([]notify.Event{event(notify.Firing, "a")})
		_, err := bot.Wait(within(t), 1)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return bot.Attempts() == 2 }, 30*time.Second, time.Millisecond)
		r.stop()
		require.Equal(t, "2", bot.Messages()[0].Form["chat_id"])
		r.counts("chat", 1, 0, 1, 1)
		require.Contains(t, r.log.String(), "bot was blocked by the user")
	})
	t.Run("a group that became a supergroup is followed", func(t *testing.T) {
		bot := alerttest.NewTelegram(token)
		defer bot.Close()
		bot.FailChat("-5", alerttest.TelegramFailure{Code: 400, Description: "Bad Request: group chat was upgraded", MigrateTo: -1005})
		r := run(t, telegram(bot, "-5"))
		r.d.Notify([]notify.Event{event(notify.Firing, "a")})
		messages, err := bot.Wait(within(t), 1)
		require.NoError(t, err)
		require.Equal(t, "-1005", messages[0].Form["chat_id"])
		r.stop()
		r.counts("chat", 1, 0, 0, 0)
	})
	t.Run("a wrong token is final", func(t *testing.T) {
		bot := alerttest.NewTelegram("1:other")
		defer bot.Close()
		r := run(t, telegram(bot, "1"))
		r.d.Notify([]notify.Event{event(notify.Firing, "a")})
		require.Eventually(t, func() bool { return strings.Contains(r.log.String(), "not found") }, 30*time.Second, time.Millisecond)
		r.stop()
		r.counts("chat", 0, 0, 1, 1)
	})
}
