package live

import (
	"strconv"
)

// number is a series' newest value as the exposition has it: made anew only when the reading has changed.
type number struct {
	// bits are those of the reading that the text was made of.
	bits uint64
	text numberText
}

// numberText holds a text of up to 23 bytes, and its length in the last: none is no value. The size is fixed so that it
// is copied in three moves, whatever its length.
type numberText [24]byte

const textLength = len(numberText{}) - 1

// setCount makes the text of a whole number.
func (t *numberText) setCount(count uint64) {
	t[textLength] = byte(len(strconv.AppendUint(t[:0], count, 10)))
}

// setMillis makes the text of seconds that are told in milliseconds.
func (t *numberText) setMillis(millis int64) {
	t[textLength] = byte(len(strconv.AppendFloat(t[:0], float64(millis)/1e3, 'f', -1, 64)))
}

// floatDigits is how many decimal digits of an IEEE 754 single are told apart.
const floatDigits = 7

// setFloat makes the text of a finite single times 10^shift. The point is moved in the text, not in the number, so that
// 12.3 % is 0.123 and not 0.12300000000000001.
func (t *numberText) setFloat(value float32, shift int) {
	if value == 0 {
		t[0], t[textLength] = '0', 1
		return
	}
	text := t[:0]
	size := float64(value)
	if size < 0 {
		text = append(text, '-')
		size = -size
	}
	digits, exponent := decimal(size)
	count := floatDigits
	for digits[count-1] == '0' {
		count--
	}
	exponent += shift
	switch {
	case exponent < -5 || exponent > 14:
		text = append(text, digits[0])
		if count > 1 {
			text = append(append(text, '.'), digits[1:count]...)
		}
		text = append(text, 'e')
		text = strconv.AppendInt(text, int64(exponent), 10)
	case exponent < 0:
		text = append(append(text, "0.0000"[:1-exponent]...), digits[:count]...)
	case exponent+1 >= count:
		text = append(append(text, digits[:count]...), "00000000000000"[:exponent+1-count]...)
	default:
		text = append(append(text, digits[:exponent+1]...), '.')
		text = append(text, digits[exponent+1:count]...)
	}
	t[textLength] = byte(len(text))
}

// powersOfTen are exact.
var powersOfTen = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10}

// decimal returns the first digits of a number above 0, rounded, and the power of ten of the first one.
func decimal(size float64) (digits [floatDigits]byte, exponent int) {
	if size < 1e-4 || size >= 1e10 {
		var room [24]byte
		// As d.dddddde-dd: the exponent has a sign always.
		text := strconv.AppendFloat(room[:0], size, 'e', floatDigits-1, 32)
		digits[0] = text[0]
		copy(digits[1:], text[2:])
		for _, digit := range text[floatDigits+3:] {
			exponent = exponent*10 + int(digit-'0')
		}
		if text[floatDigits+2] == '-' {
			exponent = -exponent
		}
		return digits, exponent
	}
	// Nearly all readings come here, and the product is exact enough: a single has less than eight digits.
	if size >= 1 {
		for size >= powersOfTen[exponent+1] {
			exponent++
		}
	} else {
		for size*powersOfTen[-exponent] < 1 {
			exponent--
		}
	}
	var whole uint64
	if places := floatDigits - 1 - exponent; places >= 0 {
		whole = uint64(size*powersOfTen[places] + 0.5)
	} else {
		whole = uint64(size/powersOfTen[-places] + 0.5)
	}
	if whole == 10_000_000 {
		whole = 1_000_000
		exponent++
	}
	for i := floatDigits - 1; i >= 0; i-- {
		digits[i] = byte('0' + whole%10)
		whole /= 10
	}
	return digits, exponent
}

func (t *numberText) clear()         { t[textLength] = 0 }
func (t *numberText) String() string { return string(t[:t[textLength]]) }
