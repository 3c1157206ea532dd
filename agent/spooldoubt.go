package agent

import "slices"

// doubt is a batch that was dropped while it was on the way. It is lost only if the server has not stored it:
//
//	on the way ──dropped──▶ doubted ──acknowledged, or within a welcome──▶ stored
//	                           ╰──a stream goes on before it──▶ lost, and told in a gap
//
// What is doubted is in the state too, so that a kill of the process leaves no batch missing without a gap: it is told lost
// then, whether or not it is stored.
type doubt struct {
	seq  uint64
	told lost // what is to be told if it is lost
}

// lose drops a batch.
func (s *DiskSpool) lose(seq uint64, told lost) {
	if slices.ContainsFunc(s.onTheWay, func(one checked) bool { return one.Seq == seq }) {
		s.doubted = append(s.doubted, doubt{seq, told})
		s.st.Doubted.add(told)
		return
	}
	s.st.Pending.add(told)
	s.dropped++
}

// settle ends the doubt of batches that are stored.
func (s *DiskSpool) settle(through uint64) {
	s.undoubt(func(one doubt) bool { return one.seq <= through })
}

// despair ends the doubt of batches over a number after which a stream goes on: they will not be sent any more.
func (s *DiskSpool) despair(after uint64) {
	s.undoubt(func(one doubt) bool {
		if one.seq <= after {
			return false
		}
		s.st.Pending.add(one.told)
		s.dropped++
		return true
	})
}

func (s *DiskSpool) undoubt(ended func(doubt) bool) {
	if len(s.doubted) == 0 {
		return
	}
	n := len(s.doubted)
	if s.doubted = slices.DeleteFunc(s.doubted, ended); len(s.doubted) == n {
		return
	}
	s.st.Doubted = lost{}
	for _, one := range s.doubted {
		s.st.Doubted.add(one.told)
	}
	s.writeState()
}
