package alerttest

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
)

// TelegramMessage is one accepted sendMessage call.
type TelegramMessage struct {
	Token string
	// Form has the parameters, as "chat_id" and "text".
	Form map[string]string
}

// Telegram stands in for a Bot API server. It knows one bot.
type Telegram struct {
	// URL is the server's address, for api_url.
	URL string

	token  string
	server *httptest.Server
	got    *box[TelegramMessage]

	mu       sync.Mutex
	failures []TelegramFailure
	chats    map[string]TelegramFailure
	attempts int
}

// TelegramFailure is an answer that refuses a call.
type TelegramFailure struct {
	// Code is the HTTP status, and the error_code of the answer.
	Code        int
	Description string
	// RetryAfter (seconds) and MigrateTo (chat id) are sent as parameters unless they are 0.
	RetryAfter, MigrateTo int
}

// NewTelegram starts a server that knows the bot with that token. Close it.
func NewTelegram(token string) *Telegram {
	t := &Telegram{token: token, got: newBox[TelegramMessage](), chats: map[string]TelegramFailure{}}
	t.server = httptest.NewServer(http.HandlerFunc(t.serve))
	t.URL = t.server.URL
	return t
}

// Close stops the server.
func (t *Telegram) Close() { t.server.Close() }

// Fail makes the next calls fail, one for each failure.
func (t *Telegram) Fail(failures ...TelegramFailure) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failures = append(t.failures, failures...)
}

// FailChat makes every call for a chat fail.
func (t *Telegram) FailChat(chat string, failure TelegramFailure) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.chats[chat] = failure
}

// Attempts returns how many calls there were, refused ones included.
func (t *Telegram) Attempts() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.attempts
}

// Messages returns the accepted messages.
func (t *Telegram) Messages() []TelegramMessage { return t.got.all() }

// Wait returns the accepted messages once there are n, or the context's error.
func (t *Telegram) Wait(ctx context.Context, n int) ([]TelegramMessage, error) {
	return t.got.wait(ctx, n)
}

func (t *Telegram) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path != "/bot"+t.token+"/sendMessage" {
		refuse(w, TelegramFailure{Code: http.StatusNotFound, Description: "Not Found"})
		return
	}
	if err := r.ParseMultipartForm(1 << 20); err != nil {
		refuse(w, TelegramFailure{Code: http.StatusBadRequest, Description: "Bad Request: " + err.Error()})
		return
	}
	form := map[string]string{}
	for name := range r.MultipartForm.Value {
		form[name] = r.FormValue(name)
	}
	if failure, ok := t.failure(form); ok {
		refuse(w, failure)
		return
	}
	t.got.add(TelegramMessage{Token: t.token, Form: form})
	_ = json.NewEncoder(w).Encode(map[string]any{"ok": true, "result": map[string]any{
		"message_id": len(t.got.all()), "date": 0, "chat": map[string]any{"id": 1, "type": "group"}, "text": form["text"],
	}})
}

// failure says how the call is to fail, if it is.
func (t *Telegram) failure(form map[string]string) (TelegramFailure, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.attempts++
	if len(t.failures) > 0 {
		failure := t.failures[0]
		t.failures = t.failures[1:]
		return failure, true
	}
	if failure, ok := t.chats[form["chat_id"]]; ok {
		return failure, true
	}
	switch text := []rune(form["text"]); {
	case len(text) == 0:
		return TelegramFailure{Code: http.StatusBadRequest, Description: "Bad Request: message text is empty"}, true
	case len(text) > 4096:
		return TelegramFailure{Code: http.StatusBadRequest, Description: "Bad Request: message is too long"}, true
	}
	return TelegramFailure{}, false
}

func refuse(w http.ResponseWriter, f TelegramFailure) {
	answer := map[string]any{"ok": false, "error_code": f.Code, "description": f.Description}
	parameters := map[string]any{}
	if f.RetryAfter != 0 {
		parameters["retry_after"] = f.RetryAfter
	}
	if f.MigrateTo != 0 {
		parameters["migrate_to_chat_id"] = f.MigrateTo
	}
	if len(parameters) > 0 {
		answer["parameters"] = parameters
	}
	w.WriteHeader(f.Code)
	_ = json.NewEncoder(w).Encode(answer)
}
