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
