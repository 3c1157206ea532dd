package notify

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
)

// hidden stands where a secret was.
const hidden = "[secret]"

// maxSecretFile bounds what is read from a *_file, in bytes. A password, a token or a URL is far shorter.
const maxSecretFile = 64 << 10

// Secret is a text that must not be shown: it prints, logs and marshals as "[secret]". Reveal gives the text.
type Secret string

// Reveal returns the text itself.
func (s Secret) Reveal() string { return string(s) }

// Format keeps the text out of every verb of package fmt.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// String does not tell the text.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// LogValue keeps the text out of logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText keeps the text out of JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// readSecret returns the value, or the content of the file without the line's end. At most one may be given, which
// Config.Validate has checked.
func readSecret(value Secret, file string) (string, error) {
	if file == "" {
		return value.Reveal(), nil
	}
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return "", err
	}
	if len(content) > maxSecretFile {
		return "", fmt.Errorf("%s is larger than %d bytes", file, maxSecretFile)
	}
	text := strings.TrimRight(string(content), "\r\n")
	if text == "" {
		return "", fmt.Errorf("%s is empty", file)
	}
	return text, nil
}

// scrubber takes secrets out of the text of errors, whose words come from libraries and from servers.
type scrubber struct{ replacer *strings.Replacer }

// newScrubber knows each secret as it is, as it looks in a URL, and as it looks in base64 (SMTP AUTH).
func newScrubber(secrets ...string) scrubber {
	var forms []string
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		quoted := fmt.Sprintf("%q", secret)
		forms = append(forms, secret, quoted[1:len(quoted)-1], url.PathEscape(secret), url.QueryEscape(secret),
			base64.StdEncoding.EncodeToString([]byte(secret)))
	}
	// The longest first, so that a secret that holds another one goes as a whole.
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) })
	pairs := make([]string, 0, 2*len(forms))
	for _, form := range forms {
		pairs = append(pairs, form, hidden)
	}
	return scrubber{strings.NewReplacer(pairs...)}
}

// maxErrorText bounds an error's text in runes: servers answer with whole pages.
const maxErrorText = 300

// clean returns the error with its text scrubbed, cut and on one line. The chain is cut too, because what it holds
// would print the secret again; only what deliver needs to know (failure) is kept.
func (s scrubber) clean(err error) error {
	if err == nil {
		return nil
	}
	text := truncate(plain(s.replacer.Replace(err.Error())), maxErrorText)
	var kind *failure
	if errors.As(err, &kind) {
		return &failure{err: errors.New(text), permanent: kind.permanent, after: kind.after}
	}
	return errors.New(text)
}
