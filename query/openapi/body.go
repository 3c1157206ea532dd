package openapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
)

// errTooLong is that of a body over maxBody.
var errTooLong = errors.New("the body is too long")

// readBody reads the body of a request that has one, and holds it against what the description has: a JSON object with all of its keys, as what
// is put replaces what there was, and no other, which the gateway would overlook. It returns errTooLong (wrapped) for a long one.
func (p *parameter) readBody(w http.ResponseWriter, request *http.Request) ([]byte, error) {
	if kind, _, err := mime.ParseMediaType(request.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, fmt.Errorf("the body is of type %q; send it as Content-Type: application/json", clip(request.Header.Get("Content-Type")))
	}
	if request.ContentLength > maxBody {
		return nil, fmt.Errorf("%w: it has %d bytes, the limit is %d", errTooLong, request.ContentLength, maxBody)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, maxBody))
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		return nil, fmt.Errorf("%w: the limit is %d bytes", errTooLong, maxBody)
	}
	if err != nil {
		return nil, fmt.Errorf("the body ends early: %w", err)
	}
	given := map[string]json.RawMessage{}
	if err := json.Unmarshal(body, &given); err != nil || given == nil {
		return nil, fmt.Errorf("the body is no JSON object with %s: %q", strings.Join(p.keys, ", "), clip(string(body)))
	}
	for _, key := range p.keys {
		value, there := given[key]
		if !there || bytes.Equal(value, []byte("null")) {
			return nil, fmt.Errorf("the body has no %q; it takes the place of what there is, so all of it must be there: %s", key, strings.Join(p.keys, ", "))
		}
		delete(given, key)
	}
	if unknown := slices.Sorted(maps.Keys(given)); len(unknown) > 0 {
		return nil, fmt.Errorf("there is no %q in a body; it takes %s", clip(unknown[0]), strings.Join(p.keys, ", "))
	}
	return body, nil
}
