package auth

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAddressOwner(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:5000":                  "192.0.2.1/32",
		"[::ffff:192.0.2.1]:5000":         "192.0.2.1/32",
		"[2001:db8:1:2:3:4:5:6]:5000":     "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff::1]:1":        "2001:db8:1:2::/64",
		"[2001:db8:1:3::1]:1":             "2001:db8:1:3::/64",
		"[fe80::1%eth0]:1":                "fe80::/64",
		"@":                               "invalid Prefix",
		"":                                "invalid Prefix",
		"not an address " + "192.0.2.1:1": "invalid Prefix",
	} {
		require.Equal(t, want, AddressOwner(remote).String(), remote)
	}
}

func TestTrustedProxyTellsTheClient(t *testing.T) {
	for name, c := range map[string]struct {
		remote    string
		forwarded []string
		want      string
	}{
		"no proxy":                     {"192.0.2.1:5000", nil, "192.0.2.1/32"},
		"stranger's header":            {"192.0.2.1:5000", []string{"198.51.100.7"}, "192.0.2.1/32"},
		"proxy without a header":       {"10.0.0.1:5000", nil, "10.0.0.1/32"},
		"proxy":                        {"10.0.0.1:5000", []string{"198.51.100.7"}, "198.51.100.7/32"},
		"client that makes up a hop":   {"10.0.0.1:5000", []string{"203.0.113.1, 198.51.100.7"}, "198.51.100.7/32"},
		"client that names the proxy":  {"10.0.0.1:5000", []string{"203.0.113.1, 10.0.0.1,198.51.100.7"}, "198.51.100.7/32"},
		"two proxies":                  {"10.0.0.1:5000", []string{"203.0.113.1,198.51.100.7 , 10.0.1.255"}, "198.51.100.7/32"},
		"two headers":                  {"10.0.0.1:5000", []string{"203.0.113.1, 198.51.100.7", "10.0.1.4"}, "198.51.100.7/32"},
		"only proxies":                 {"10.0.0.1:5000", []string{"10.0.1.3, 10.0.1.4"}, "10.0.1.3/32"},
		"port":                         {"10.0.0.1:5000", []string{"198.51.100.7:1234"}, "198.51.100.7/32"},
		"IPv6":                         {"[2001:db8:ff::1]:5000", []string{"2001:db8:1:2:3::4"}, "2001:db8:1:2::/64"},
		"IPv6 with brackets":           {"[2001:db8:ff::1]:5000", []string{"[2001:db8:1:2:3::4]:99"}, "2001:db8:1:2::/64"},
		"IPv4 in IPv6":                 {"[::ffff:10.0.0.1]:5000", []string{"::ffff:198.51.100.7"}, "198.51.100.7/32"},
		"what is no address":           {"10.0.0.1:5000", []string{"198.51.100.7, unknown"}, "10.0.0.1/32"},
		"nothing":                      {"10.0.0.1:5000", []string{""}, "10.0.0.1/32"},
		"what is no address of a peer": {"@", []string{"198.51.100.7"}, "invalid Prefix"},
	} {
		proxies, err := ParseProxies("10.0.0.1, 10.0.1.0/24,2001:db8:ff::/48")
		require.NoError(t, err)
		r := request("POST", "/api/v1/login", from(c.remote))
		r.Header[forwardedFor] = c.forwarded
		require.Equal(t, c.want, proxies.Owner(r).String(), name)
	}
}

func TestProxiesThatAreNoneAreRefused(t *testing.T) {
	for list, text := range map[string]string{"proxy": "no address", "10.0.0.0/33": "no address", "10.0.0.1 10.0.0.2": "no address", "0.0.0.0/0": "everybody", "::/0": "everybody"} {
		_, err := ParseProxies(list)
		require.ErrorContains(t, err, text, list)
		require.ErrorContains(t, err, "trusted_proxies", list)
	}
	none, err := ParseProxies("")
	require.NoError(t, err)
	require.Empty(t, none.networks)
}
