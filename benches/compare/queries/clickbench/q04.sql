-- compare: count
SELECT AVG(UserID) FROM hits
