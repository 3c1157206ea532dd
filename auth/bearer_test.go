package auth

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseBearer(t *testing.T) {
	for name, test := range map[string]struct {
		values []string
		want   string
		bad    bool
	}{
		"none":               {nil, "", false},
		"empty":              {[]string{""}, "", false},
		"token":              {[]string{"Bearer abc.DEF-_~+/="}, "abc.DEF-_~+/=", false},
		"scheme in any case": {[]string{"bEARER abc"}, "abc", false},
		"more spaces":        {[]string{" Bearer   abc "}, "abc", false},
		"other scheme":       {[]string{"Basic YWRtaW46YWRtaW4="}, "", false},
		"longer scheme":      {[]string{"Bearerx abc"}, "", false},
		"no token":           {[]string{"Bearer"}, "", true},
		"only spaces":        {[]string{"Bearer   "}, "", true},
		"two tokens":         {[]string{"Bearer abc def"}, "", true},
		"two headers":        {[]string{"Bearer abc", "Bearer abc"}, "", true},
		"tab":                {[]string{"Bearer abc\tdef"}, "", true},
		"line feed":          {[]string{"Bearer abc\n"}, "", true},
		"not ASCII":          {[]string{"Bearer abcé"}, "", true},
		"endless":            {[]string{"Bearer " + strings.Repeat("a", 513)}, "", true},
	} {
		token, err := parseBearer(test.values)
		require.Equal(t, test.want, token, name)
		require.Equal(t, test.bad, err != nil, name)
	}
}

func FuzzParseBearer(f *testing.F) {
	f.Add("Bearer abc")
	f.Add("bearer  ~ ")
	f.Add("Basic x")
	f.Fuzz(func(t *testing.T, value string) {
		token, err := parseBearer([]string{value})
		if err != nil && token != "" {
			t.Fatalf("%q gave both a token and an error", value)
		}
		if len(token) > maxTokenLength || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Fatalf("%q gave %q", value, token)
		}
		if token != "" && !strings.Contains(value, token) {
			t.Fatalf("%q gave %q", value, token)
		}
	})
}

func TestLocalAddr(t *testing.T) {
	for _, test := range []struct {
		addr net.Addr
		want bool
	}{
		{nil, false},
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, true},
		{&net.TCPAddr{IP: net.ParseIP("::1")}, true},
		{&net.TCPAddr{IP: net.ParseIP("::ffff:127.9.9.9")}, true},
		{&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}, false},
		{&net.TCPAddr{}, false},
		{&net.UnixAddr{Name: "/run/gohub.sock", Net: "unix"}, true},
		{&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, true},
		{&net.IPAddr{IP: net.IPv4(127, 0, 0, 1)}, false},
	} {
		require.Equal(t, test.want, isLocalAddr(test.addr), "%#v", test.addr)
	}
}

func TestForwardingHeadersOnlyTakeAway(t *testing.T) {
	for name, test := range map[string]struct {
		header http.Header
		want   bool
	}{
		"none":                     {http.Header{}, false},
		"from elsewhere":           {http.Header{"X-Forwarded-For": {"192.0.2.7"}}, true},
		"from here":                {http.Header{"X-Forwarded-For": {"::1, 127.0.0.1"}, "X-Forwarded-Host": {"localhost:3000"}}, false},
		"through here":             {http.Header{"X-Forwarded-For": {"192.0.2.7, 127.0.0.1"}}, true},
		"second header":            {http.Header{"X-Forwarded-For": {"127.0.0.1", "192.0.2.7"}}, true},
		"real address":             {http.Header{"X-Real-Ip": {"192.0.2.7"}}, true},
		"foreign name":             {http.Header{"X-Forwarded-Host": {"gohub.example"}}, true},
		"the standard's header":    {http.Header{"Forwarded": {"for=192.0.2.7"}}, true},
		"an address with its port": {http.Header{"X-Forwarded-For": {"[::1]:5000"}}, false},
		"nonsense":                 {http.Header{"X-Forwarded-For": {"unknown"}}, true},
	} {
		require.Equal(t, test.want, isForwarded(test.header.Values), name)
	}
}
