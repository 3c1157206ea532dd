package storage

import (
	"time"
)

// Usage is what a database takes on disk, in bytes with indexes.
type Usage struct {
	TotalBytes int64
	// Relations are those of samples and rollups.
	Relations []RelationUsage
	// Disk is the file system that the database is on; nil where it can not be seen.
	Disk *Disk
}

// RelationUsage is what a family's samples take, or its rollups of one resolution.
type RelationUsage struct {
	Table
	Bytes int64
	// Oldest and Newest are about the times that there are, zero if there is nothing.
	Oldest, Newest time.Time
	// Keep is how long it is kept; 0 is for ever.
	Keep time.Duration
}

// Disk is a file system, in bytes. Free is what the server may still use.
type Disk struct{ Size, Free int64 }

// leastCovered is the least that a growth is told from: minutes after the first sample, the empty tables and what is made ahead
// would be most of it.
const leastCovered = time.Hour

// GrowthPerDay is by how many bytes the relation grows a day, to judge by what it has; 0 where that is too little to tell.
func (u *RelationUsage) GrowthPerDay() float64 {
	covered := u.Newest.Sub(u.Oldest)
	if covered < leastCovered {
		return 0
	}
	return float64(u.Bytes) / covered.Hours() * 24
}

// BytesIn is what the relation will take after some time, if it grows as it did: until what is older than it is kept goes at
// the same pace.
func (u *RelationUsage) BytesIn(after time.Duration) float64 {
	covered := u.Newest.Sub(u.Oldest)
	grows := after
	if u.Keep > 0 {
		grows = min(after, max(u.Keep-covered, 0))
	}
	return float64(u.Bytes) + u.GrowthPerDay()*grows.Hours()/24
}

// BytesIn is what the database will take after some time.
func (u *Usage) BytesIn(after time.Duration) float64 {
	total := float64(u.TotalBytes)
	for i := range u.Relations {
		total += u.Relations[i].BytesIn(after) - float64(u.Relations[i].Bytes)
	}
	return total
}

// FullIn is after how long the disk is full, to the day; false if it can not be told, or is later than most.
func (u *Usage) FullIn(most time.Duration) (after time.Duration, ok bool) {
	const day = 24 * time.Hour
	if u.Disk == nil {
		return 0, false
	}
	room := float64(u.TotalBytes + u.Disk.Free)
	if u.BytesIn(most) < room {
		return 0, false
	}
	// It never shrinks.
	low, high := time.Duration(0), most
	for high-low > day {
		if middle := low + (high-low)/2; u.BytesIn(middle) < room {
			low = middle
		} else {
			high = middle
		}
	}
	return high, true
}
