package notify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-telegram/bot"
	"github.com/go-telegram/bot/models"
)

// maxTelegramText is Telegram's bound of a message, in UTF-16 units.
const maxTelegramText = 4096

// maxAnswer bounds what is read of a receiver's answer, in bytes.
const maxAnswer = 256 << 10

// telegramSender sends to one chat. It is used by its worker's goroutine only.
type telegramSender struct {
	bot  *bot.Bot
	chat string
}

func (t Telegram) senders(o Options, add func(sender, scrubber)) error {
	token, err := readSecret(t.Token, t.TokenFile)
	if err != nil {
		return fmt.Errorf("telegram %q: token_file: %w", t.Name, err)
	}
	if !botToken.MatchString(token) {
		return fmt.Errorf("telegram %q: what token_file holds is not a bot token", t.Name)
	}
	client, err := httpClient(t.CAFile, directDial(), o.Proxy)
	if err != nil {
		return fmt.Errorf("telegram %q: %w", t.Name, err)
	}
	options := []bot.Option{
		bot.WithSkipGetMe(),
		// The library would write to the standard logger.
		bot.WithErrorsHandler(func(error) {}),
		bot.WithHTTPClient(time.Minute, boundedClient{client, o.UserAgent}),
	}
	if t.APIURL != "" {
		options = append(options, bot.WithServerURL(strings.TrimRight(t.APIURL, "/")))
	}
	secrets := newScrubber(token)
	for _, chat := range t.ChatIDs {
		b, err := bot.New(token, options...)
		if err != nil {
			return fmt.Errorf("telegram %q: %w", t.Name, secrets.clean(err))
		}
		add(&telegramSender{bot: b, chat: chat}, secrets)
	}
	return nil
}

func (s *telegramSender) send(ctx context.Context, m message) error {
	err := s.post(ctx, m)
	var moved *bot.MigrateError
	if errors.As(err, &moved) {
		// The group became a supergroup, which has a new id.
		s.chat = strconv.Itoa(moved.MigrateToChatID)
		err = s.post(ctx, m)
	}
	var tooMany *bot.TooManyRequestsError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &tooMany):
		return &failure{err: err, after: time.Duration(tooMany.RetryAfter) * time.Second}
	case errors.Is(err, bot.ErrorBadRequest), errors.Is(err, bot.ErrorUnauthorized), errors.Is(err, bot.ErrorForbidden),
		errors.Is(err, bot.ErrorNotFound):
		return permanent(err)
	default:
		return err
	}
}

// post sends plain text: without a parse mode nothing in it is markup.
func (s *telegramSender) post(ctx context.Context, m message) error {
	_, err := s.bot.SendMessage(ctx, &bot.SendMessageParams{
		ChatID:             s.chat,
		Text:               m.body(maxTelegramText),
		LinkPreviewOptions: &models.LinkPreviewOptions{IsDisabled: new(true)},
	})
	return err
}

// boundedClient bounds the answers, which the library reads whole.
type boundedClient struct {
	client    *http.Client
	userAgent string
}

func (c boundedClient) Do(request *http.Request) (*http.Response, error) {
	request.Header.Set("User-Agent", c.userAgent)
	response, err := c.client.Do(request)
	if err != nil {
		return nil, err
	}
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(response.Body, maxAnswer), response.Body}
	return response, nil
}
