package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Parameters of new hashes: OWASP's first choice for argon2id. 19 MiB for some 30 ms do not hurt a small server, nor
// one in the middle of its ingest.
const (
	hashMemory  = 19 * 1024 // KiB
	hashTime    = 2
	hashThreads = 1
	saltLength  = 16
	keyLength   = 32
)

// Bounds of the parameters of a given hash. The upper ones keep a login from taking the machine's memory or seconds of
// its processors, the lower ones keep out hashes that are guessed too fast.
const (
	minHashMemory  = 7 * 1024   // KiB, OWASP's least
	maxHashMemory  = 256 * 1024 // KiB
	maxHashTime    = 16
	maxHashThreads = 16
	minSaltLength  = 8
	maxSaltLength  = 64
	minKeyLength   = 16
	maxKeyLength   = 64
	maxPHCLength   = 512
)

var errBadPHC = errors.New("it must be an argon2id hash as `gohub-server hash-password` prints it ($argon2id$v=19$m=…,t=…,p=…$salt$hash)")

// passwordHash is a parsed argon2id PHC string.
type passwordHash struct {
	memory  uint32 // KiB
	time    uint32
	threads uint8
	salt    []byte
	key     []byte
}

// HashPassword returns the argon2id hash of a password as a PHC string, for Options.PasswordHash. It fails on a password
// that New would refuse.
func HashPassword(plain string) (string, error) {
	if err := checkPassword(plain); err != nil {
		return "", err
	}
	return newPasswordHash(plain).String(), nil
}

func newPasswordHash(plain string) passwordHash {
	h := passwordHash{memory: hashMemory, time: hashTime, threads: hashThreads, salt: make([]byte, saltLength)}
	_, _ = rand.Read(h.salt) // it never fails
	h.key = argon2.IDKey([]byte(plain), h.salt, h.time, h.memory, h.threads, keyLength)
	return h
}

func (h passwordHash) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.time, h.threads,
		base64.RawStdEncoding.EncodeToString(h.salt), base64.RawStdEncoding.EncodeToString(h.key))
}

// matches computes the password's hash, which takes the memory and time of the parameters, and compares in constant time.
func (h passwordHash) matches(plain string) bool {
	key := argon2.IDKey([]byte(plain), h.salt, h.time, h.memory, h.threads, uint32(len(h.key)))
	return subtle.ConstantTimeCompare(key, h.key) == 1
}

// parsePHC reads "$argon2id$v=19$m=19456,t=2,p=1$salt$hash" in this order and form only. Its errors do not hold the input.
func parsePHC(s string) (passwordHash, error) {
	if len(s) > maxPHCLength {
		return passwordHash{}, errBadPHC
	}
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return passwordHash{}, errBadPHC
	}
	params := strings.Split(parts[3], ",")
	if len(params) != 3 {
		return passwordHash{}, errBadPHC
	}
	memory, err := parameter(params[0], "m", minHashMemory, maxHashMemory)
	if err != nil {
		return passwordHash{}, err
	}
	time, err := parameter(params[1], "t", 1, maxHashTime)
	if err != nil {
		return passwordHash{}, err
	}
	threads, err := parameter(params[2], "p", 1, maxHashThreads)
	if err != nil {
		return passwordHash{}, err
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil || len(salt) < minSaltLength || len(salt) > maxSaltLength {
		return passwordHash{}, errBadPHC
	}
	key, err := base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil || len(key) < minKeyLength || len(key) > maxKeyLength {
		return passwordHash{}, errBadPHC
	}
	h := passwordHash{memory: memory, time: time, threads: uint8(threads), salt: salt, key: key}
	// Numbers have leading zeros in no hash, nor does base64 have line breaks, though their decoders take both.
	if h.String() != s {
		return passwordHash{}, errBadPHC
	}
	return h, nil
}

// parameter reads name=number.
func parameter(s, name string, low, high uint32) (uint32, error) {
	digits, ok := strings.CutPrefix(s, name+"=")
	if !ok {
		return 0, errBadPHC
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil {
		return 0, errBadPHC
	}
	if n < uint64(low) || n > uint64(high) {
		return 0, fmt.Errorf("argon2id parameter %s=%d is out of bounds, it must be from %d to %d", name, n, low, high)
	}
	return uint32(n), nil
}

// bindingOf derives what ties sessions to the password. It is slow like the hash, as it stays in memory.
func bindingOf(plain string) [sha256.Size]byte {
	return [sha256.Size]byte(argon2.IDKey([]byte(plain), []byte("gohub session binding 1"), hashTime, hashMemory, hashThreads, sha256.Size))
}

// errBusy: so many passwords are being computed that another one must not even wait.
var errBusy = errors.New("too many logins at once")

// verifier checks passwords, a bounded number at a time as each takes memory.
type verifier struct {
	hash passwordHash
	// admitted has one element for each that computes or waits, computing one for each that computes.
	admitted, computing chan struct{}
	// compute is hash.matches but in tests.
	compute func(plain string) bool
}

func newVerifier(hash passwordHash, limits LoginLimits) *verifier {
	return &verifier{
		hash:      hash,
		admitted:  make(chan struct{}, limits.Concurrent+limits.Waiting),
		computing: make(chan struct{}, limits.Concurrent),
		compute:   hash.matches,
	}
}

// verify tells whether the password is right. It returns errBusy, or the context's error when that ended while waiting.
func (v *verifier) verify(ctx context.Context, plain string) (bool, error) {
	select {
	case v.admitted <- struct{}{}:
		defer func() { <-v.admitted }()
	default:
		return false, errBusy
	}
	select {
	case v.computing <- struct{}{}:
		defer func() { <-v.computing }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	return v.compute(plain), nil
}
