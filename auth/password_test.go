package auth

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestHashPasswordRoundTrip(t *testing.T) {
	phc, err := HashPassword(testPassword)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(phc, "$argon2id$v=19$m=19456,t=2,p=1$"), phc)
	again, err := HashPassword(testPassword)
	require.NoError(t, err)
	require.NotEqual(t, phc, again, "salted")

	hash, err := parsePHC(phc)
	require.NoError(t, err)
	require.True(t, hash.matches(testPassword))
	require.False(t, hash.matches(testPassword+" "))
	require.False(t, hash.matches(""))

	_, err = HashPassword("äöüß123")
	require.ErrorContains(t, err, "7 characters")
}

// TestParsePHCTakesForeignHash has a test vector of the reference implementation.
func TestParsePHCTakesForeignHash(t *testing.T) {
	hash, err := parsePHC("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	require.NoError(t, err)
	require.True(t, hash.matches("password"))
	require.False(t, hash.matches("Password"))
}

func TestParsePHCRefuses(t *testing.T) {
	const salt, key = "MDEyMzQ1Njc4OWFiY2RlZg", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"
	good := "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + key
	_, err := parsePHC(good)
	require.NoError(t, err)
	for name, phc := range map[string]string{
		"empty":              "",
		"plain text":         "hunter2hunter2",
		"bcrypt":             "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
		"argon2i":            strings.Replace(good, "argon2id", "argon2i", 1),
		"old version":        strings.Replace(good, "v=19", "v=16", 1),
		"no version":         strings.Replace(good, "$v=19", "", 1),
		"other order":        strings.Replace(good, "m=19456,t=2,p=1", "t=2,m=19456,p=1", 1),
		"more parameters":    strings.Replace(good, "p=1", "p=1,keyid=1", 1),
		"memory bomb":        strings.Replace(good, "m=19456", "m=4194304", 1),
		"just too much":      strings.Replace(good, "m=19456", "m=262145", 1),
		"memory too small":   strings.Replace(good, "m=19456", "m=7167", 1),
		"overflowing memory": strings.Replace(good, "m=19456", "m=4294986752", 1),
		"endless time":       strings.Replace(good, "t=2", "t=4000000000", 1),
		"no time":            strings.Replace(good, "t=2", "t=0", 1),
		"no threads":         strings.Replace(good, "p=1", "p=0", 1),
		"many threads":       strings.Replace(good, "p=1", "p=257", 1),
		"signed":             strings.Replace(good, "t=2", "t=+2", 1),
		"leading zero":       strings.Replace(good, "t=2", "t=02", 1),
		"padded salt":        strings.Replace(good, salt, salt+"==", 1),
		"short salt":         strings.Replace(good, salt, "MDEyMzQ1Ng", 1),
		"no salt":            strings.Replace(good, salt, "", 1),
		"short key":          strings.Replace(good, key, "MDEyMzQ1Njc4OWFiY2Rl", 1),
		"long key":           strings.Replace(good, key, strings.Repeat("QUFB", 22), 1),
		"loose bits":         strings.Replace(good, salt, salt[:len(salt)-1]+"h", 1),
		"line feed":          good[:len(good)-4] + "\n" + good[len(good)-4:],
		"trailing part":      good + "$",
		"endless":            good + strings.Repeat("A", 512),
	} {
		_, err := parsePHC(phc)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), salt, name)
	}
}

func FuzzParsePHC(f *testing.F) {
	f.Add(testHash)
	f.Add("$argon2id$v=19$m=4294967295,t=1,p=1$AAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=,t=,p=$$")
	f.Fuzz(func(t *testing.T, phc string) {
		hash, err := parsePHC(phc)
		if err != nil {
			return
		}
		if hash.memory > maxHashMemory || hash.time > maxHashTime || hash.threads > maxHashThreads || len(hash.key) > maxKeyLength {
			t.Fatalf("out of bounds: %+v", hash)
		}
		if hash.String() != phc {
			t.Fatalf("%q became %q", phc, hash)
		}
	})
}

// TestVerifyBoundsConcurrency: as many compute as may, as many wait as may, and the next one is sent away.
func TestVerifyBoundsConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier(passwordHash{}, LoginLimits{Concurrent: 2, Waiting: 2})
		release := make(chan struct{})
		var computing, most, right atomic.Int32
		v.compute = func(string) bool {
			n := computing.Add(1)
			most.Store(max(most.Load(), n))
			<-release
			computing.Add(-1)
			return true
		}
		verify := func(ctx context.Context) {
			if ok, err := v.verify(ctx, ""); ok && err == nil {
				right.Add(1)
			}
		}
		ctx, leave := context.WithCancel(t.Context())
		go verify(t.Context())
		go verify(t.Context())
		synctest.Wait()
		go verify(t.Context())
		go verify(ctx)
		synctest.Wait()
		require.Equal(t, int32(2), computing.Load())
		_, err := v.verify(t.Context(), "")
		require.ErrorIs(t, err, errBusy)

		// Who waits and goes away makes room for another one.
		leave()
		synctest.Wait()
		go verify(t.Context())
		synctest.Wait()
		_, err = v.verify(t.Context(), "")
		require.ErrorIs(t, err, errBusy)

		close(release)
		synctest.Wait()
		require.Equal(t, int32(4), right.Load())
		require.Equal(t, int32(2), most.Load())
		require.Empty(t, v.admitted)
		require.Empty(t, v.computing)
	})
}
