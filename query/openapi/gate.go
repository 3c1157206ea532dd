package openapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
)

// gate holds requests against the description before the gateway reads them. The gateway overlooks parameters that it does
// not know, tells of a value that it can not read in Go's words, and takes a wrong method for a method to be written.
type gate struct {
	routes []route
	next   http.Handler
	now    func() time.Time
}

// route is one path of the description.
type route struct {
	// path is split at the slashes; a segment as {hostId} stands for any value.
	path []string
	// methods that the description has, in the order of their names, and HEAD where it has GET.
	methods []string
	// parameters of each method. Those of HEAD are those of GET.
	parameters map[string][]parameter
}

// maxBody is how many bytes a request's body may have: ten times what the most labels of a host take.
const maxBody = 128 << 10

// parameter is one of a route, as the document describes it.
type parameter struct {
	Name string `json:"name"`
	// In is "path", "query" or "body".
	In     string `json:"in"`
	Type   string `json:"type"`
	Format string `json:"format"`
	Items  struct {
		Type string `json:"type"`
	} `json:"items"`
	Schema struct {
		Reference string `json:"$ref"`
	} `json:"schema"`
	// keys are those of a body, sorted.
	keys []string
}

// Gate returns a handler that passes on to the gateway what the description allows:
//
//   - HEAD as the GET that it is; other methods get 405 and what is allowed.
//   - Parameters that the route has, each once. One with several values may have them separated by commas too.
//   - A body of at most 128 KiB where the method has one, as JSON, with the keys that it has and no other.
//   - Values of the right type. A time may also be written as RFC 3339 has it, as a date or as now-6h, and a stretch of time as 5m.
//
// What it refuses is answered as JSON, by Refuse.
func Gate(gateway http.Handler) (http.Handler, error) {
	return newGate(JSON, gateway)
}

func newGate(document []byte, gateway http.Handler) (*gate, error) {
	var description struct {
		Paths map[string]map[string]struct {
			Parameters []parameter `json:"parameters"`
		} `json:"paths"`
		Definitions map[string]struct {
			Properties map[string]json.RawMessage `json:"properties"`
		} `json:"definitions"`
	}
	if err := json.Unmarshal(document, &description); err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	g := &gate{next: gateway, now: time.Now}
	for path, operations := range description.Paths {
		one := route{path: strings.Split(path, "/"), parameters: map[string][]parameter{}}
		for _, name := range slices.Sorted(maps.Keys(operations)) {
			method := strings.ToUpper(name)
			one.methods = append(one.methods, method)
			one.parameters[method] = operations[name].Parameters
			switch method {
			case http.MethodGet:
				one.methods = append(one.methods, http.MethodHead)
				one.parameters[http.MethodHead] = operations[name].Parameters
			case http.MethodPut:
				body := one.body(method)
				if body == nil {
					return nil, fmt.Errorf("the OpenAPI document has PUT %s without a body", path)
				}
				body.keys = slices.Sorted(maps.Keys(description.Definitions[strings.TrimPrefix(body.Schema.Reference, "#/definitions/")].Properties))
			default:
				return nil, fmt.Errorf("the OpenAPI document has %s %s: the gate before the gateway knows GET and PUT only", method, path)
			}
		}
		g.routes = append(g.routes, one)
	}
	return g, nil
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	found, inPath := g.find(r.URL.Path)
	if found == nil {
		message := fmt.Sprintf("there is no %s; GET /api/v1/openapi.json describes what there is", clip(r.URL.Path))
		if without, _ := g.find(strings.TrimRight(r.URL.Path, "/")); without != nil {
			message = fmt.Sprintf("there is no %s; leave the slash at its end out", clip(r.URL.Path))
		}
		Refuse(w, http.StatusNotFound, codes.NotFound, message)
		return
	}
	if !Allowed(w, r, found.methods...) {
		return
	}
	query, err := found.check(r.Method, inPath, r.URL.RawQuery, g.now())
	if err != nil {
		Refuse(w, http.StatusBadRequest, codes.InvalidArgument, err.Error())
		return
	}
	read := r.WithContext(r.Context()) // a copy: those who gave r may still look at it
	if described := found.body(r.Method); described != nil {
		body, err := described.readBody(w, r)
		switch {
		case errors.Is(err, errTooLong):
			Refuse(w, http.StatusRequestEntityTooLarge, codes.InvalidArgument, err.Error())
			return
		case err != nil:
			Refuse(w, http.StatusBadRequest, codes.InvalidArgument, err.Error())
			return
		}
		read.Body, read.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	} else {
		read.Body = http.MaxBytesReader(w, r.Body, maxBody)
	}
	address := *r.URL
	address.RawQuery = query.Encode()
	// net/http leaves the body out of the answer by the method of the request that it has read.
	read.URL = &address
	if r.Method == http.MethodHead {
		read.Method = http.MethodGet
	}
	g.next.ServeHTTP(w, read)
}

// find returns the path's route, nil if there is none, and the values in the path by their names.
func (g *gate) find(path string) (*route, url.Values) {
	segments := strings.Split(path, "/")
	for i := range g.routes {
		if values, ok := g.routes[i].match(segments); ok {
			return &g.routes[i], values
		}
	}
	return nil, nil
}

func (r *route) match(segments []string) (url.Values, bool) {
	if len(segments) != len(r.path) {
		return nil, false
	}
	values := url.Values{}
	for i, segment := range segments {
		name, variable := strings.CutPrefix(r.path[i], "{")
		if variable && segment != "" {
			values.Set(strings.TrimSuffix(name, "}"), segment)
		} else if segment != r.path[i] {
			return nil, false
		}
	}
	return values, true
}

// check returns the query as the gateway reads it.
func (r *route) check(method string, inPath url.Values, rawQuery string, now time.Time) (url.Values, error) {
	for name, values := range inPath {
		if known := r.parameter(method, "path", name); known != nil {
			if _, err := known.read(values, now); err != nil {
				return nil, err
			}
		}
	}
	given, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, fmt.Errorf("the query is malformed: %w", err)
	}
	query := url.Values{}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		known := r.parameter(method, "query", name)
		if known == nil {
			return nil, fmt.Errorf("there is no parameter %q; %s takes %s", clip(name), strings.Join(r.path, "/"), r.takes(method))
		}
		read, err := known.read(given[name], now)
		if err != nil {
			return nil, err
		}
		if query.Has(known.Name) || known.Type != "array" && len(read) > 1 {
			return nil, fmt.Errorf("%s is given more than once", known.Name)
		}
		query[known.Name] = read
	}
	return query, nil
}

// body is the parameter that stands for a method's body, nil if it has none.
func (r *route) body(method string) *parameter {
	for i := range r.parameters[method] {
		if one := &r.parameters[method][i]; one.In == "body" {
			return one
		}
	}
	return nil
}

// parameter finds one by its name here, as hostId, or by that in the contract, as host_id.
func (r *route) parameter(method, in, name string) *parameter {
	for i := range r.parameters[method] {
		if one := &r.parameters[method][i]; one.In == in && (one.Name == name || snakeCase(one.Name) == name) {
			return one
		}
	}
	return nil
}

func (r *route) takes(method string) string {
	var names []string
	for _, one := range r.parameters[method] {
		if one.In == "query" {
			names = append(names, one.Name)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// splitList cuts at commas, but not at those within braces, quotes or both: a metric may have matchers.
func splitList(text string) []string {
	var all []string
	start, quoted, depth := 0, false, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"' && depth > 0:
			quoted = !quoted
		case quoted:
		case c == '{':
			depth++
		case c == '}':
			depth--
		case c == ',' && depth <= 0:
			all = append(all, text[start:i])
			start = i + 1
		}
	}
	return append(all, text[start:])
}

// read checks the values' type, and writes them as the gateway reads them.
func (p *parameter) read(values []string, now time.Time) ([]string, error) {
	if p.Type == "array" {
		var split []string
		for _, value := range values {
			split = append(split, splitList(value)...)
		}
		return split, nil
	}
	read := slices.Clone(values)
	for i, value := range values {
		var err error
		switch {
		case p.isTime():
			if at, ok := parseTime(value, now); ok {
				read[i] = at
				continue
			}
			number, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return nil, fmt.Errorf("%s is %q; a time is given in Unix seconds, as 1779019200, or by RFC 3339, as 2026-05-17T12:00:00Z, as a date, 2026-05-17, or by how long ago it is, now-6h", p.Name, clip(value))
			}
			if number == 0 {
				read[i] = firstMoment
			}
		case p.isDuration():
			if long, ok := parseDuration(value); ok {
				read[i] = strconv.FormatFloat(long.Seconds(), 'f', -1, 64)
				continue
			}
			if _, err = strconv.ParseFloat(value, 64); err != nil {
				return nil, fmt.Errorf("%s is %q; it is given in seconds, as 300, or with a unit of s, m, h, d or w, as 5m", p.Name, clip(value))
			}
		case p.Type == "integer":
			// The contract's integers in requests are uint32, which the document, having no such type, calls int64.
			if _, err = strconv.ParseUint(value, 10, 32); err != nil {
				return nil, fmt.Errorf("%s is %q, which is no whole number from 0 to %d", p.Name, clip(value), uint32(1<<32-1))
			}
		case p.Type == "number":
			if _, err = strconv.ParseFloat(value, 64); err != nil {
				return nil, fmt.Errorf("%s is %q, which is no number", p.Name, clip(value))
			}
		}
	}
	return read, nil
}

// Allowed answers 405 to a request of another method than those, and then returns false.
func Allowed(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	if slices.Contains(methods, r.Method) {
		return true
	}
	allow := strings.Join(methods, ", ")
	w.Header().Set("Allow", allow)
	Refuse(w, http.StatusMethodNotAllowed, codes.Unimplemented, fmt.Sprintf("%s is not allowed on %s; allowed is %s", clip(r.Method), clip(r.URL.Path), allow))
	return false
}

// Refuse answers as the gateway tells of an error.
func Refuse(w http.ResponseWriter, status int, code codes.Code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false) // it is never shown as HTML, and people read it in a terminal
	_ = encoder.Encode(struct {
		Code    codes.Code `json:"code"`
		Message string     `json:"message"`
	}{code, message}) // the client is gone, no one to tell
}

// clip shortens what comes from outside for an error message.
func clip(text string) string {
	const longest = 100 // twice the longest name that there is
	if len(text) > longest {
		text = text[:longest] + "…"
	}
	return strings.ToValidUTF8(text, "�")
}

func snakeCase(name string) string {
	var snake strings.Builder
	for _, letter := range name {
		if 'A' <= letter && letter <= 'Z' {
			snake.WriteByte('_')
			letter += 'a' - 'A'
		}
		snake.WriteRune(letter)
	}
	return snake.String()
}
